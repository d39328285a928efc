"""Rules on the implicit rewards: the margin, falling chosen answers, rewards that follow length."""

import torch

from preftune.losses import Method, PolicyLogps, ReferencedLogps
from preftune.losses.method import probe_arguments
from preftune.training.health.history import History
from preftune.training.health.rule import (
    AGAINST_REFERENCE,
    WINDOW,
    HealthRule,
    RunFacts,
    Symptom,
    TooLittle,
    against_reference,
)

MOST_MARGIN = 10.0
"""Difference of implicit rewards. The logistic loss of such a pair is 0.00005, a ten thousandth of where it began."""


def margin(history: History, run: RunFacts) -> Symptom | TooLittle | None:
    """The mean margin over the last steps is so large that pairs have nothing left to teach."""
    found = run.recent(history.training("rewards/margins"))
    if found is None:
        return run.too_few_steps(history)
    if found < MOST_MARGIN:
        return None
    return Symptom(f"the mean margin of the last {run.window} steps is {found:.3g}", found / MOST_MARGIN)


MARGIN = HealthRule(
    name="margin",
    title="the margin runs away",
    sees=f"rewards/margins, mean of the last {WINDOW} rows at least",
    threshold=f"{MOST_MARGIN:g}",
    reason="the logistic loss of such a pair is 0.00005: nothing is left to learn from it, and only the "
    "distance from the reference grows",
    severity="suspect",
    advice="Lower --epochs or --learning-rate, keep an earlier checkpoint with --keep best, or try --method ipo, "
    "whose margin has a target.",
    needs=f"{AGAINST_REFERENCE}: pairs, lists and thumbs",
    applies=against_reference,
    check=margin,
)


DISPLACEMENT_LEAST_FALL = 0.25
"""In nats per token: each is 22 % less likely than under the reference."""

DISPLACEMENT_LEAST_SHARE = 0.5
"""Fall of the chosen answers as a share of the margin; the rejected ones then fell by three halves of it."""


def raises_chosen(method: Method) -> bool:
    """True if a method makes chosen answers likelier than under the reference, by the slope of its losses.

    >>> raises_chosen(Method.named("dpo")), raises_chosen(Method.named("apo_down"))
    (True, False)
    """
    chosen = torch.zeros(2, requires_grad=True)
    loss = torch.zeros(())
    for part in method.parts:
        arguments = probe_arguments(part.loss)
        if "chosen" in arguments:
            of_reference = isinstance(arguments["chosen"], ReferencedLogps)
            tokens = torch.ones(2)
            arguments["chosen"] = (
                ReferencedLogps(chosen, torch.zeros(2), tokens) if of_reference else PolicyLogps(chosen, tokens)
            )
            loss = loss + part.weight * part(*arguments.values()).sum()
    if not loss.requires_grad:
        return True
    (slope,) = torch.autograd.grad(loss, chosen)
    return bool(slope.sum() < 0)


def displacement(history: History, run: RunFacts) -> Symptom | TooLittle | None:
    """Log-probs of chosen answers fell far, per token and as a share of the margin, on average over the last steps.

    The whole margin then comes from the fall of rejected answers: `rewards/rejected_share` is 1.
    """
    chosen, margin = (run.recent(history.training(f"rewards/{name}")) for name in ("chosen", "margins"))
    num_tokens = 1.0 if run.reward == "mean_logratio" else _mean_length(history, run)
    if chosen is None or margin is None:
        return run.too_few_steps(history)
    if num_tokens is None:  # no log-prob has moved
        return None
    fall = -chosen / run.reward_scale / num_tokens
    if fall < DISPLACEMENT_LEAST_FALL or -chosen < DISPLACEMENT_LEAST_SHARE * margin:
        return None
    text = (
        f"chosen answers lost {fall:.3g} nats per token against the reference, {-chosen / max(margin, 1e-9):.3g} times "
        "the margin, which comes from rejected answers alone"
    )
    return Symptom(text, fall / DISPLACEMENT_LEAST_FALL)


def _mean_length(history: History, run: RunFacts) -> float | None:
    """Mean number of tokens of an answer over the last steps."""
    per_answer, per_token = (run.recent(history.training(f"logratios/{name}")) for name in ("absolute", "per_token"))
    return per_answer / per_token if per_answer and per_token else None


DISPLACEMENT = HealthRule(
    name="displacement",
    title="chosen answers become less likely",
    sees=f"rewards/chosen, rewards/margins and logratios, means of the last {WINDOW} rows at least",
    threshold=f"chosen answers lost {DISPLACEMENT_LEAST_FALL:g} nats per token, and {DISPLACEMENT_LEAST_SHARE:g} "
    "of the margin",
    reason="the probability that both sides lose goes to unlabelled answers (arXiv:2410.08847). Some loss "
    "is usual in DPO: the demo, whose answers improve, loses 0.13. Here each token is 22 % less likely, and the fall "
    "of rejected answers is one and a half times the margin",
    severity="suspect",
    advice="Try --method dpop, or 'dpo + 0.2*preferred_ft'; lower --learning-rate, or leave out pairs that hardly "
    "differ.",
    needs=f"{AGAINST_REFERENCE}: pairs, lists, thumbs; not methods that lower chosen answers on purpose (apo_down)",
    applies=lambda run: against_reference(run) and raises_chosen(run.method),
    check=displacement,
)


LENGTH_LEAST_CORRELATION, LENGTH_LEAST_MARGIN = 0.5, 0.1


def length(history: History, run: RunFacts) -> Symptom | TooLittle | None:
    """Margins correlate with differences in length, in held-out pairs if there are enough, else in the last steps."""
    name = "rewards/length_correlation"
    of_held_out = run.num_held_out >= WINDOW
    margin = run.recent(history.training("rewards/margins"))
    found = history.held_out(name).last if of_held_out else run.recent(history.training(name))
    if margin is None or (found is None and not of_held_out and abs(margin) >= LENGTH_LEAST_MARGIN):
        return run.too_few_steps(history)
    if found is None or abs(margin) < LENGTH_LEAST_MARGIN or abs(found) < LENGTH_LEAST_CORRELATION:
        return None
    which = "longer" if found > 0 else "shorter"
    pairs = "held-out pairs" if of_held_out else "pairs of the last steps"
    text = f"in {pairs} the {which} answer has the higher reward, with a correlation of {found:.2f}"
    return Symptom(text, abs(found) / LENGTH_LEAST_CORRELATION)


LENGTH = HealthRule(
    name="length",
    title="the reward follows length",
    sees=f"rewards/length_correlation of held-out pairs, or of the last {WINDOW} pairs, with {WINDOW} in the data",
    threshold=f"beyond {LENGTH_LEAST_CORRELATION:g} either way, at a margin of {LENGTH_LEAST_MARGIN:g} at least",
    reason="four standard errors at so many pairs; a reward that is one third length reaches it",
    severity="suspect",
    advice="Try --method rdpo_length, ld_dpo or dpo_length_normalized, or --auxiliary length=-0.01; check whether "
    "the data choose the longer answers.",
    needs=f"{AGAINST_REFERENCE}: pairs and lists. Without a reference, rewards depend on length from the start",
    applies=lambda run: against_reference(run) and run.compares and max(run.num_train, run.num_held_out) >= WINDOW,
    check=length,
)


RULES: tuple[HealthRule, ...] = (
    MARGIN,
    DISPLACEMENT,
    LENGTH,
)
