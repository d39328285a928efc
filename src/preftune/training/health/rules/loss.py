"""Rules on the loss: the start of a run, NaN, a rising loss, gradient spikes, no learning."""

from statistics import median

from preftune.training.health.history import History
from preftune.training.health.rule import (
    AGAINST_REFERENCE,
    ROUNDING,
    WINDOW,
    HealthRule,
    RunFacts,
    Symptom,
    TooLittle,
    always,
    has_held_out,
)

START = HealthRule(
    name="start",
    title="policy and reference differ at the start",
    sees="the first loss and reward, before the first update",
    threshold="further from the method's value at log-ratio 0 than a relative change of log-probs by "
    f"{ROUNDING:g} explains",
    reason="policy and reference are equal, so the loss is known: ln 2 for dpo. Rounding in bf16 is allowed for; a "
    "larger difference has another cause, and every later reward is off by it",
    severity="fatal",
    advice="Train in fp32 to see whether it goes away, and please report the model.",
    needs=AGAINST_REFERENCE,
    applies=lambda run: run.starts_at_reference and run.method.needs_reference,
)


NOT_FINITE = HealthRule(
    name="not_finite",
    title="a loss, gradient or weight is NaN or infinite",
    sees="loss and gradients before each optimizer step; weights before they are saved",
    threshold="NaN or infinity",
    reason="one such value in a gradient spoils all weights, and one in a weight all answers",
    severity="fatal",
    advice="Lower --learning-rate, use --precision bf16 or fp32, or look for faults in the rows named.",
    needs="all; gradients not in fp16, whose scaler skips such steps",
    applies=always,
)


DIVERGENCE_MOST_RISE = 2.0


def divergence(history: History, run: RunFacts) -> Symptom | TooLittle | None:
    """The mean loss of the last steps is far above that of the start."""
    losses = history.training("loss")
    start = losses.first if run.rewards_begin_at_zero else losses.mean_of_first(run.window)
    found = run.recent(losses)
    if start is None or found is None:
        return run.too_few_steps(history)
    if losses.lowest <= 0 or found < DIVERGENCE_MOST_RISE * start:
        return None
    text = f"the mean loss of the last {run.window} steps is {found:.4g}, and began at {start:.4g}"
    return Symptom(text, found / (DIVERGENCE_MOST_RISE * start))


DIVERGENCE = HealthRule(
    name="divergence",
    title="the training loss rises",
    sees=f"loss, mean of the last {WINDOW} rows at least",
    threshold=f"{DIVERGENCE_MOST_RISE:g} times the first",
    reason="a mean over so many rows does not double by chance",
    severity="sick",
    advice="Lower --learning-rate, or raise --warmup.",
    needs="all methods whose loss stays above 0",
    applies=always,
    check=divergence,
)


GRADIENT_LEAST_BEFORE, GRADIENT_MOST_BEFORE = 16, 64
GRADIENT_NUM_DEVIATIONS, GRADIENT_TIMES_MEDIAN = 10.0, 5.0
_TO_STANDARD_DEVIATION = 1.4826
"""Of a normal distribution: standard deviation per median absolute deviation."""


def gradient(history: History, run: RunFacts) -> Symptom | TooLittle | None:  # noqa: ARG001
    """The newest norm is far above the median of the norms before, and above all of the run's first norms."""
    norms = [point.value for point in history.training("grad_norm").points[-GRADIENT_MOST_BEFORE - 1 :]]
    if len(norms) <= GRADIENT_LEAST_BEFORE:
        return TooLittle(f"{GRADIENT_LEAST_BEFORE + 1} logged gradient norms; there were {len(norms)}")
    *before, newest = norms
    middle = median(before)
    deviation = _TO_STANDARD_DEVIATION * median(abs(norm - middle) for norm in before)
    most = max(middle + GRADIENT_NUM_DEVIATIONS * deviation, GRADIENT_TIMES_MEDIAN * middle, *_first(history))
    if newest <= most:
        return None
    text = f"it is {newest:.3g}; the median of the {len(before)} before is {middle:.3g}"
    return Symptom(text, newest / most)


def _first(history: History) -> list[float]:
    """Norms at the start of a run, before the policy fits anything."""
    return [point.value for point in history.training("grad_norm").points[: GRADIENT_LEAST_BEFORE // 2]]


GRADIENT = HealthRule(
    name="gradient",
    title="the gradient norm spikes",
    sees=f"grad_norm, before it is clipped, against the last {GRADIENT_LEAST_BEFORE} to {GRADIENT_MOST_BEFORE} "
    "that were logged",
    threshold=f"above the median by {GRADIENT_NUM_DEVIATIONS:g} standard deviations (of the median absolute "
    f"deviation), {GRADIENT_TIMES_MEDIAN:g} times the median, and above the run's first",
    reason="gradients vary by a few times from step to step; this far out is an unusual row or a step that went wrong",
    severity="suspect",
    advice="Look at the rows of that step, which are named; lower --max-grad-norm or --learning-rate, or raise "
    "--batch-size.",
    needs="all methods without a penalty, at which gradients jump by themselves (dpop)",
    applies=lambda run: not any(name.endswith("penalty") for name in run.method.options),
    check=gradient,
    names_rows=True,
)


FLAT_LEAST_STEPS = 20
FLAT_LEAST_NATS = 0.1
FLAT_MOST_CHANGE = 0.01


def flat(history: History, run: RunFacts) -> Symptom | TooLittle | None:
    """After half of the run the policy has not moved: by its distance from the reference, or else by the held-out loss.

    The training loss alone is no evidence: at a small beta it hardly reflects how far the policy has moved, and at a
    large one it falls before the policy has moved.
    """
    if history.step < max(FLAT_LEAST_STEPS, run.max_steps / 2):
        return TooLittle(f"half of the run, and {FLAT_LEAST_STEPS} steps; there were {history.step}")
    return _no_distance(history, run) if run.rewards_begin_at_zero else _no_change(history)


def _no_distance(history: History, run: RunFacts) -> Symptom | TooLittle | None:
    moved, loss = run.recent(history.training("logratios/absolute")), history.training("loss")
    if moved is None:
        return run.too_few_steps(history)
    if moved >= FLAT_LEAST_NATS:
        return None
    text = (
        f"after {history.step} steps answers are {moved:.2g} nats from the reference; the loss is {loss.last:.4g} and "
        f"began at {loss.first:.4g}"
    )
    return Symptom(text, 1.0)


def _no_change(history: History) -> Symptom | TooLittle | None:
    losses = history.held_out("loss")
    if len(losses) < 2 or losses.first is None or losses.points[-1].step < FLAT_LEAST_STEPS:
        return TooLittle(f"the held-out loss before training and after {FLAT_LEAST_STEPS} steps")
    change = max(losses.highest - losses.first, losses.first - losses.lowest) / max(abs(losses.first), 1e-9)
    if change > FLAT_MOST_CHANGE:
        return None
    text = f"after {history.step} steps the held-out loss was never more than {change:.1%} from its first value"
    return Symptom(text, 1.0)


FLAT = HealthRule(
    name="flat",
    title="hardly anything is learned",
    sees="logratios/absolute of the last steps; without a reference, the held-out loss",
    threshold=f"below {FLAT_LEAST_NATS:g} nats per answer, or never more than {FLAT_MOST_CHANGE:.0%} from the "
    f"first loss, after half of the run and {FLAT_LEAST_STEPS} steps",
    reason="log-probs of answers change by a tenth of a nat, while tuning moves them by nats. A flat loss alone "
    "is no evidence: at a small beta it hardly reflects what was learned",
    severity="suspect",
    advice="Raise --learning-rate, or lower --beta: a large one ends learning early.",
    needs=f"{AGAINST_REFERENCE}; others with held-out data",
    applies=lambda run: has_held_out(run) or run.rewards_begin_at_zero,
    check=flat,
)


RULES: tuple[HealthRule, ...] = (
    START,
    NOT_FINITE,
    DIVERGENCE,
    GRADIENT,
    FLAT,
)
