"""Verdict on a run: has the model changed, and is it better than the one before training?"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from preftune.files.number_text import number_text, percent_text
from preftune.losses import Method
from preftune.metrics.catalogue import HELD_OUT
from preftune.metrics.intervals import Interval, mean_interval, share_interval
from preftune.runs.data_report import PartReport
from preftune.runs.logs import Log, Series, merged, series_of
from preftune.training.health.finding import HealthRecord

Outcome = Literal["better", "worse", "unclear", "unchanged", "unknown"]
"""better, worse: credibly, by the interval. unclear: the interval holds both. unchanged: the model hardly moved.
unknown: nothing was measured on held-out data."""

Tone = Literal["good", "neutral", "warning", "error"]
"""No complaint; nothing is known; look into it; do not use the model."""

Subject = Literal["change", "accuracy", "margin", "loss", "win rate"]

HEADLINES: Mapping[Outcome, str] = {
    "better": "Better than the model you began with.",
    "worse": "Worse than the model you began with.",
    "unclear": "Not distinguishable from the model you began with.",
    "unchanged": "The run changed next to nothing.",
    "unknown": "Nothing was measured on held-out data, so it is not known if the model is better.",
}

LEAST_NATS = 0.1
"""Mean change of a completion's log-prob below which a model has hardly moved; tuning moves them by nats."""

LEAST_LOSS_CHANGE = 0.01
"""Relative change below which a held-out loss counts as unchanged; it has no interval."""

_LEAST_ROWS = 8
"""Fewest held-out completions whose loss says anything."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One comparison of the model with the one before training.

    Args:
        text: A sentence with the numbers.
    """

    subject: Subject
    outcome: Outcome
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on a run: in `summary.json`, on the console and at the top of the report.

    Args:
        outcome: Of all judgements together; the worst counts.
        health: Findings of the health rules, and how many rules could judge, in a sentence.
    """

    outcome: Outcome
    tone: Tone
    judgements: tuple[Judgement, ...]
    health: str

    @staticmethod
    def of(
        judgements: Iterable[Judgement], health: HealthRecord, *, is_finished: bool, is_sick: bool = False
    ) -> "Verdict":
        """The verdict of judgements and the findings of health rules.

        Args:
            is_sick: A health rule ended the run.
        """
        found = tuple(judgements)
        outcome = outcome_of(found)
        severities = {*(finding.severity for finding in health.findings), *(["sick"] if is_sick else [])}
        return Verdict(outcome, _tone(outcome, severities, is_finished=is_finished), found, health.text)

    @property
    def headline(self) -> str:
        """The outcome in a sentence."""
        return HEADLINES[self.outcome]

    def lines(self) -> Iterator[str]:
        """The verdict for the console."""
        yield f"Verdict: {self.headline}"
        yield from (f"  {judgement.text}" for judgement in self.judgements)
        yield f"  {self.health}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Measurements of a run that a verdict rests on.

    Args:
        held_out: Counts of the held-out data; None if there are none, or they are not known.
        kept_step: Step of the checkpoint that became the model; None for the last step.
        judge: Name of the judge of samples, if there is one.
    """

    method: Method | None
    logs: Sequence[Log]
    held_out: PartReport | None
    kept_step: int | None = None
    judge: str | None = None
    judge_against: str = "start"

    def series(self, name: str) -> Series:
        """A metric over the steps."""
        return series_of(merged(self.logs), name)

    def before(self, name: str) -> float | None:
        """The value before the first step."""
        return _finite(self.series(name).at(0))

    def after(self, name: str) -> float | None:
        """The value of the model that the run left; None if nothing was measured after the first step."""
        series = self.series(name)
        if not series or series.steps[-1] == 0:
            return None
        at_kept = None if self.kept_step is None else series.at(self.kept_step)
        return _finite(series.values[-1] if at_kept is None else at_kept)


def judgements_of(evidence: Evidence) -> Iterator[Judgement]:
    """The judgements that the logs of a run allow."""
    compared = [item for item in (_accuracy(evidence), _margin(evidence)) if item is not None][:1]
    compared = compared or [item for item in (_loss(evidence),) if item is not None]
    is_told_apart = any(item.outcome in ("better", "worse") for item in compared)
    change = _standstill(evidence) or (None if is_told_apart else _hardly_moved(evidence))
    judged = _win_rate(evidence)
    yield from (item for item in (change, *compared, judged) if item is not None)


def outcome_of(judgements: Collection[Judgement]) -> Outcome:
    """The outcome of all judgements together: the first of worse, unchanged, better, unclear that occurs.

    >>> outcome_of([]), outcome_of([Judgement("accuracy", "better", ""), Judgement("win rate", "unclear", "")])
    ('unknown', 'better')
    """
    found = {item.outcome for item in judgements}
    order: tuple[Outcome, ...] = ("worse", "unchanged", "better", "unclear")
    return next((outcome for outcome in order if outcome in found), "unknown")


def _tone(outcome: Outcome, severities: Collection[str], *, is_finished: bool) -> Tone:
    """The tone of a verdict, given the severities of the health findings.

    >>> _tone("better", [], is_finished=True), _tone("better", ["suspect"], is_finished=True)
    ('good', 'warning')
    >>> _tone("unclear", [], is_finished=True), _tone("worse", [], is_finished=True)
    ('warning', 'error')
    """
    if outcome == "worse" or {"fatal", "sick"} & set(severities):
        return "error"
    if severities or not is_finished or outcome in ("unclear", "unchanged"):
        return "warning"
    return "good" if outcome == "better" else "neutral"


def against_level(interval: Interval, level: float) -> Outcome:
    """An estimate against a fixed value, by its interval."""
    if interval.low > level:
        return "better"
    return "worse" if interval.high < level else "unclear"


def _accuracy(evidence: Evidence) -> Judgement | None:
    name = f"{HELD_OUT}rewards/accuracies"
    after, before, data = evidence.after(name), evidence.before(name), evidence.held_out
    if after is None or data is None or not data.num_pairs:
        return None
    num_prompts, error = data.num_prompts, evidence.after(f"{name}_error")
    if error is None:  # of a single prompt, or in logs of older versions
        error = math.sqrt(after * (1 - after) / num_prompts)
    found = share_interval(after, error, num_prompts=num_prompts, num_rows=data.num_pairs)
    pairs = f"On {data.num_pairs:,} held-out pair{'s' * (data.num_pairs != 1)}"
    where = f"{percent_text(after)} {interval_ends(found, is_share=True)}"
    if before is None or before == 0.5:
        outcome = against_level(found, 0.5)
        then = "" if before is None else f"; {percent_text(before)} before training"
        return Judgement(
            "accuracy", outcome, f"{pairs} it is {than_text(outcome, 'chance')}: {where}{then}.{_few(found)}"
        )
    # Both are of the same pairs; taken as independent, the interval of their difference is too wide rather than too
    # narrow.
    wide = math.hypot(error, evidence.before(f"{name}_error") or 0.0)
    outcome = against_level(mean_interval(after - before, wide, num_prompts=num_prompts), 0.0)
    text = (
        f"{pairs} its accuracy is {where}, {percent_text(before)} before training: {than_text(outcome, _BEGAN_WITH)}."
    )
    return Judgement("accuracy", outcome, text + _few(found))


def _margin(evidence: Evidence) -> Judgement | None:
    """Thumbs have no pairs; desirable completions should gain more reward than undesirable ones."""
    name = f"{HELD_OUT}rewards/margins"
    after, before, error = evidence.after(name), evidence.before(name), evidence.after(f"{name}_error")
    data = evidence.held_out
    if after is None or error is None or data is None or evidence.method is None or before is None:
        return None
    if evidence.method.feedback != "thumbs":
        return None
    wide = math.hypot(error, evidence.before(f"{name}_error") or 0.0)
    found = mean_interval(after - before, wide, num_prompts=data.num_prompts)
    outcome = against_level(found, 0.0)
    count = data.num_desirable + data.num_undesirable
    text = (
        f"On {count:,} held-out completions the margin of desirable over undesirable ones changed by "
        f"{number_text(_rounded(found.value))} {interval_ends(found)}: {than_text(outcome, _BEGAN_WITH)}."
    )
    return Judgement("margin", outcome, text)


def _loss(evidence: Evidence) -> Judgement | None:
    name = f"{HELD_OUT}loss"
    before, after, data = evidence.before(name), evidence.after(name), evidence.held_out
    if before is None or after is None:
        return None
    change = (after - before) / max(abs(before), 1e-9)
    outcome: Outcome = "unclear"
    if abs(change) >= LEAST_LOSS_CHANGE and data is not None and data.num_prompts >= _LEAST_ROWS:
        outcome = "better" if change < 0 else "worse"
    on = "" if data is None else f" on {data.num_prompts:,} prompt{'s' * (data.num_prompts != 1)}"
    text = (
        f"The held-out loss{on} is {number_text(_rounded(after))}, {number_text(_rounded(before))} before training: "
        f"{than_text(outcome, _BEGAN_WITH)}."
    )
    return Judgement("loss", outcome, text)


def _standstill(evidence: Evidence) -> Judgement | None:
    """A run whose steps cannot have changed the weights."""
    rates, norms = evidence.series("learning_rate"), evidence.series("grad_norm")
    if rates and not any(rates.values):
        steps = f"in {'the only step' if rates.steps == (1,) else 'every step'}"
        return Judgement(
            "change", "unchanged", f"The learning rate was 0 {steps}: the model is the one you began with."
        )
    if norms and not any(norms.values):
        text = "The gradient was 0 in every step: the model is the one you began with."
        return Judgement("change", "unchanged", text)
    return None


def _hardly_moved(evidence: Evidence) -> Judgement | None:
    """A policy that is hardly away from the reference it began as; without a reference, a loss that stays."""
    name = "logratios/absolute"
    held_out = evidence.after(HELD_OUT + name)
    start = evidence.before(HELD_OUT + name)
    training = evidence.series(name)
    if start is None and len(training.steps) > 1 and training.steps[0] == 1:
        start = _finite(training.values[0])
    moved = held_out
    if moved is None and len(training.steps) > 1:  # a step is measured before it changes the weights
        moved = evidence.after(name)
    if moved is not None and start is not None and start < 1e-3 and moved < LEAST_NATS:
        where = "completions" if held_out is None else "held-out completions"
        text = (
            f"Log-probs of {where} moved by {number_text(float(f'{moved:.2g}'))} nats on average; tuning moves them by "
            f"nats. {_LEARN_MORE}"
        )
        return Judgement("change", "unchanged", text)
    before, after = evidence.before(f"{HELD_OUT}loss"), evidence.after(f"{HELD_OUT}loss")
    if moved is None and before is not None and after is not None and abs(after - before) < 1e-3 * abs(before):
        text = f"The held-out loss stayed at {number_text(_rounded(after))}. {_LEARN_MORE}"
        return Judgement("change", "unchanged", text)
    return None


def _win_rate(evidence: Evidence) -> Judgement | None:
    name = f"{HELD_OUT}win_rate"
    rate, count = evidence.after(name), evidence.after(f"{HELD_OUT}num_judged")
    if rate is None or not count or evidence.judge is None:
        return None
    number = int(count)
    error = evidence.after(f"{name}_error") or 0.0
    found = share_interval(rate, error, num_prompts=number, num_rows=number)
    is_start = evidence.judge_against == "start"
    opponent = "those before training" if is_start else "the chosen completions of the data"
    outcome = against_level(found, 0.5)
    text = (
        f"By the judge {evidence.judge}, on {number:,} prompt{'s' * (number != 1)}, its samples are "
        f"{than_text(outcome, opponent)}: win rate {percent_text(rate)} {interval_ends(found, is_share=True)}."
    )
    # Completions of the data may be better than those of any model, so they say nothing about a change.
    return Judgement("win rate", outcome if is_start else "unclear", text + _few(found))


_BEGAN_WITH = "the model you began with"
_LEARN_MORE = "Train longer (--epochs, a smaller --batch-size), or raise --learning-rate."
_WIDE = 0.2


def than_text(outcome: Outcome, opponent: str) -> str:
    """An outcome in words.

    >>> than_text("unclear", "chance"), than_text("worse", "chance")
    ('not distinguishable from chance', 'worse than chance')
    """
    return f"{outcome} than {opponent}" if outcome in ("better", "worse") else f"not distinguishable from {opponent}"


def _few(found: Interval) -> str:
    """A remark on a share whose interval is so wide that it cannot say much."""
    is_unclear = found.low <= 0.5 <= found.high
    return " So few show only large differences." if is_unclear and found.high - found.low > 2 * _WIDE else ""


def interval_ends(interval: Interval, *, is_share: bool = False) -> str:
    """Both ends in brackets; empty if they are unknown.

    >>> interval_ends(Interval(0.5, 0.4, 0.6, 0.05, 100), is_share=True)
    '(40.0 % to 60.0 %)'
    """
    if math.isnan(interval.low):
        return ""
    ends = (interval.low, interval.high)
    low, high = map(percent_text, ends) if is_share else (number_text(_rounded(end)) for end in ends)
    return f"({low} to {high})"


def _rounded(value: float) -> float:
    """A value with as many digits as say something: three after the point, or two that count."""
    return round(value, 3) if abs(value) >= 0.01 else float(f"{value:.2g}")


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
