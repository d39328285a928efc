"""Rules on new pairs: shortcuts in the data, overfitting."""

import math

from preftune.training.health.history import History
from preftune.training.health.rule import (
    WINDOW,
    HealthRule,
    RunFacts,
    Symptom,
    TooLittle,
    has_held_out,
)

AFTER_START = TooLittle("an evaluation on held-out data after the first step")

SHORTCUT_LEAST_ACCURACY, SHORTCUT_LEAST_PAIRS = 0.98, 100


def shortcut(history: History, run: RunFacts) -> Symptom | TooLittle | None:
    """Pairs not trained on are classified correctly: held-out ones, or those of the first epoch's last steps."""
    found = {}
    held_out = history.held_out("rewards/accuracies").after_start
    if run.num_held_out >= SHORTCUT_LEAST_PAIRS and held_out is not None:
        found["held-out pairs"] = held_out
    training = history.training("rewards/accuracies").mean_of_last(math.ceil(SHORTCUT_LEAST_PAIRS / run.batch_size))
    if history.step <= run.steps_per_epoch and training is not None:
        found["pairs that were new"] = training
    for pairs, accuracy in found.items():
        if accuracy >= SHORTCUT_LEAST_ACCURACY:
            text = f"{accuracy:.1%} of {pairs} are classified correctly"
            return Symptom(text, accuracy / SHORTCUT_LEAST_ACCURACY)
    if not found:
        return TooLittle(f"{SHORTCUT_LEAST_PAIRS} held-out pairs, or as many in the steps of the first epoch")
    return None


SHORTCUT = HealthRule(
    name="shortcut",
    title="new pairs are classified too well",
    sees=f"rewards/accuracies of {SHORTCUT_LEAST_PAIRS} held-out pairs, or of the last {SHORTCUT_LEAST_PAIRS} of "
    "the first epoch, which were new when they were measured",
    threshold=f"{SHORTCUT_LEAST_ACCURACY:g}",
    reason="human judges agree on 60 to 80 % of pairs: pairs that are nearly always classified correctly "
    "differ in something trivial, such as length, format or the model that wrote it",
    severity="suspect",
    advice="Look for what all chosen answers share: length, endings, markup. Take both answers from one source, or "
    "--method rdpo_length.",
    needs="pairs and lists, with or without a reference",
    applies=lambda run: run.compares and run.reward is not None,
    check=shortcut,
)


LEAST_GAP = 0.15


def gap(history: History, run: RunFacts) -> Symptom | TooLittle | None:
    """Accuracy on the last training pairs exceeds that on held-out ones by more than two standard errors."""
    training = run.recent(history.training("rewards/accuracies"))
    held_out = history.held_out("rewards/accuracies").after_start
    if training is None:
        return run.too_few_steps(history)
    if held_out is None or run.num_held_out < 1:
        return AFTER_START
    chance = 2 * math.sqrt(0.25 / WINDOW + 0.25 / run.num_held_out)
    if training - held_out < LEAST_GAP + chance:
        return None
    text = (
        f"{training:.1%} of the last training pairs are classified correctly, {held_out:.1%} of "
        f"{run.num_held_out:,} held-out ones"
    )
    return Symptom(text, (training - held_out) / (LEAST_GAP + chance))


GAP = HealthRule(
    name="gap",
    title="training pairs are classified correctly, held-out ones are not",
    sees=f"rewards/accuracies of the last {WINDOW} training pairs at least, and of held-out ones",
    threshold=f"{LEAST_GAP:g} above, beyond two standard errors of both",
    reason="some gap is usual after the first epoch; beyond it the policy memorises its pairs, or the "
    "held-out ones differ in kind",
    severity="suspect",
    advice="Lower --epochs, keep an earlier checkpoint with --keep best, raise --beta, or check that the held-out "
    "data are labelled the same way.",
    needs="pairs and lists with held-out data, with or without a reference",
    applies=lambda run: has_held_out(run) and run.compares and run.reward is not None,
    check=gap,
)


LEAST_RISE, LEAST_HELD_OUT = 1.1, 32


def held_out_loss(history: History, run: RunFacts) -> Symptom | TooLittle | None:
    """The held-out loss is above its lowest value, and above the loss of the last training steps."""
    held_out, training = history.held_out("loss"), run.recent(history.training("loss"))
    if run.num_held_out < LEAST_HELD_OUT:
        return TooLittle(f"{LEAST_HELD_OUT} held-out {run.method.counted}s; there are {run.num_held_out}")
    if training is None:
        return run.too_few_steps(history)
    if held_out.last is None or held_out.after_start is None:
        return AFTER_START
    if held_out.lowest <= 0:
        return None
    rise = held_out.last / held_out.lowest
    if rise < LEAST_RISE or training > held_out.last:
        return None
    text = f"it is {held_out.last:.4g} now and was {held_out.lowest:.4g}; the training loss is {training:.4g}"
    return Symptom(text, rise / LEAST_RISE)


HELD_OUT_LOSS = HealthRule(
    name="held_out_loss",
    title="the held-out loss rises",
    sees="the held-out loss, and that of the last steps",
    threshold=f"{LEAST_RISE:g} times its lowest, and above the training loss, with at least "
    f"{LEAST_HELD_OUT} rows held out",
    reason="a tenth is more than the usual overconfidence of a longer run, whose accuracy may still rise",
    severity="suspect",
    advice="Lower --epochs, keep an earlier checkpoint with --keep best, or end the run in time with --early-stopping.",
    needs="all, with held-out data",
    applies=has_held_out,
    check=held_out_loss,
)


RULES: tuple[HealthRule, ...] = (
    SHORTCUT,
    GAP,
    HELD_OUT_LOSS,
)
