"""The first lines of a report: how the run ended, how healthy it was, and what has changed."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from preftune.evaluation.result import EvaluationResult
from preftune.evaluation.win_rate import WinRate
from preftune.files.number_text import duration_text, number_text, percent_text
from preftune.files.run_files import CONFIG
from preftune.metrics.catalogue import HELD_OUT, METRICS, SAMPLES_KL
from preftune.metrics.intervals import Interval
from preftune.report.run_record import RunRecord, RunState
from preftune.runs.logs import Series
from preftune.training.health.rule import RUN_SEVERITIES

__all__ = [
    "Change",
    "Verdict",
    "check_command",
    "evaluation_command",
    "further_evaluation",
    "generation_command",
    "lacks_of",
    "main_win_rate",
    "severities_text",
    "verdict_of",
]

_ENDED: dict[RunState, str] = {
    "finished": "Finished",
    "stopped": "Stopped early by a signal",
    "sick": "Stopped by a health rule",
    "failed": "Failed",
    "unfinished": "Unfinished: still training, or killed",
}
_NEARLY = 0.005


@dataclass(frozen=True, slots=True)
class Change:
    """A number before and after training.

    Args:
        before, after: As text; `before` is empty if it is unknown.
        note: Data of the measurement, and the interval.
    """

    label: str
    before: str
    after: str
    note: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Summary on top of a report.

    Args:
        tone: No complaint, look into it, or do not use the model.
        changes: Main numbers before and after, on held-out data if there are any.
    """

    tone: Literal["good", "warning", "error"]
    headline: str
    health: str
    sentences: tuple[str, ...]
    changes: tuple[Change, ...]


def verdict_of(run: RunRecord) -> Verdict:
    """The verdict on a run."""
    severities = {finding.severity for finding in run.findings}
    bad = run.state in ("sick", "failed") or severities & {"fatal", "sick"}
    tone: Literal["good", "warning", "error"] = "good"
    if bad or run.state != "finished" or severities:
        tone = "error" if bad else "warning"
    return Verdict(tone, _headline(run), _health(run), tuple(_sentences(run)), tuple(_changes(run)))


def _headline(run: RunRecord) -> str:
    steps = f"{run.num_steps:,} step" + "s" * (run.num_steps != 1)
    time = f" in {duration_text(run.summary.seconds)}" if run.summary and run.state != "unfinished" else ""
    kept = f" The model is the checkpoint of step {run.kept.step:,}." if run.kept else ""
    return f"{_ENDED[run.state]}: {steps}{time}.{kept}"


def _health(run: RunRecord) -> str:
    if run.health is None and run.summary is None:
        return "No health record."
    named = severities_text(run)
    rules = "" if run.health is None else f" by {len(run.health.rules)} rules"
    if not named:
        return f"Health: no finding{rules}."
    return f"Health: {len(run.findings)} finding{'s' * (len(run.findings) != 1)}{rules} ({named})."


def severities_text(run: RunRecord) -> str:
    """Number of findings of each severity; empty if there are none."""
    counts = [(name, sum(found.severity == name for found in run.findings)) for name in RUN_SEVERITIES]
    return ", ".join(f"{count} {name}" for name, count in counts if count)


def _sentences(run: RunRecord) -> Iterator[str]:
    """Sentences on the evaluation: is the model better than chance, and than its opponent?"""
    found = run.evaluation
    if found is None:
        return
    if found.preferences is not None and found.preferences.pairs is not None:
        accuracy = found.preferences.pairs.accuracy
        yield f"On {found.preferences.pairs.num_pairs:,} held-out pairs it is {_against_half(accuracy, 'chance')}."
    rate = main_win_rate(found)
    if rate is not None:
        opponent = f"the {rate.against}" if rate.against == "reference" else rate.against
        at = f"at temperature {rate.temperature:g}"
        yield f"By the judge {rate.judge}, {at}, its completions are {_against_half(rate.rate, opponent)}."


def main_win_rate(found: EvaluationResult) -> WinRate | None:
    """The win rate at the temperature closest to 1, which is the model's own distribution."""
    return min(found.win_rates, key=lambda rate: abs(rate.temperature - 1.0), default=None)


def _against_half(interval: Interval, opponent: str) -> str:
    """Comparison of a share with one half.

    >>> _against_half(Interval(0.65, 0.59, 0.71, 0.03, 254), "chance")
    'better than chance: 65.0 % (59.0 % to 71.0 %)'
    >>> _against_half(Interval(0.52, 0.44, 0.60, 0.04, 150), "chance")
    'not distinguishable from chance: 52.0 % (44.0 % to 60.0 %)'
    """
    where = f"{percent_text(interval.value)} {_ends(interval, '%')}".strip()
    if interval.low > 0.5:
        return f"better than {opponent}: {where}"
    return f"worse than {opponent}: {where}" if interval.high < 0.5 else f"not distinguishable from {opponent}: {where}"


def _changes(run: RunRecord) -> Iterator[Change]:
    for name, metric in METRICS.items():
        if metric.shown != "headline":
            continue
        held_out = run.series(f"eval_{name}")
        series = held_out or run.series(name)
        is_evaluated = name == SAMPLES_KL and _evaluated_kl(run) is not None
        if series and (held_out or not run.holds_out) and not is_evaluated:
            where = _of_samples(run) if metric.is_of_samples else "held out" if held_out else "training data"
            at_kept = series.at(run.kept.step) if run.kept else None
            after = series.values[-1] if at_kept is None else at_kept
            before = "" if len(series.values) == 1 else metric.text(series.values[0])
            note = _accuracy_note(run, after) if name == "rewards/accuracies" and held_out else where
            yield Change(metric.title, before, metric.text(after), note)
    yield from _evaluated(run)


def _of_samples(run: RunRecord) -> str:
    return f"{len(run.samples[-1].samples):,} samples" if run.samples else "samples"


def _evaluated_kl(run: RunRecord) -> Interval | None:
    """The KL of `preftune eval`, which uses more samples than training and has an interval."""
    samples = None if run.evaluation is None else run.evaluation.samples
    return None if samples is None else samples.kl


def _accuracy_note(run: RunRecord, accuracy: float) -> str:
    found = run.evaluation
    if found is not None and found.preferences is not None and found.preferences.pairs is not None:
        evaluated = found.preferences.pairs.accuracy
        if abs(evaluated.value - accuracy) < _NEARLY:
            return f"held out; {found.confidence:.0%} interval {_ends(evaluated, '%')}"
    count = _num_held_out(run)
    return "held out" if count is None else f"held out, {count:,} pairs"


def _evaluated(run: RunRecord) -> Iterator[Change]:
    """Numbers that only `preftune eval` measures."""
    found = run.evaluation
    if found is None:
        return
    level = f"{found.confidence:.0%} interval"
    kl = _evaluated_kl(run)
    if kl is not None:
        yield Change(METRICS[SAMPLES_KL].title, "0", number_text(round(kl.value, 3)), f"{level} {_ends(kl)}")
    rate = main_win_rate(found)
    if rate is not None:
        note = f"{rate.judge} against {rate.against}; {level} {_ends(rate.rate, '%')}"
        yield Change("win rate", "", percent_text(rate.rate.value), note)
        if rate.our_score is not None and rate.their_score is not None:
            theirs, ours = (number_text(round(score.value, 3)) for score in (rate.their_score, rate.our_score))
            yield Change(f"score, {rate.against} to model", theirs, ours, f"{level} {_ends(rate.our_score)}")


def _num_held_out(run: RunRecord) -> int | None:
    part = None if run.summary is None else run.summary.data.get("held out")
    return None if part is None else part.num_pairs or None


def _ends(interval: Interval, unit: str = "") -> str:
    if interval.low != interval.low:
        return ""
    texts: Sequence[str] = (
        [percent_text(end) for end in (interval.low, interval.high)]
        if unit
        else [number_text(round(end, 3)) for end in (interval.low, interval.high)]
    )
    return f"({texts[0]} to {texts[1]})"


@dataclass(frozen=True, slots=True)
class Lack:
    """A missing measurement.

    Args:
        is_next: True if the run itself must go on first.
    """

    what: str
    command: str
    is_next: bool = False


def lacks_of(run: RunRecord) -> Iterator[Lack]:
    """Missing measurements, the most important first."""
    evaluate = evaluation_command(run)
    if evaluate is None:
        yield Lack("There is no model yet, nor a checkpoint.", _resume(run), is_next=True)
        return
    if run.state != "finished":
        yield Lack("The run did not finish.", _resume(run), is_next=True)
        return
    if not run.holds_out:
        yield Lack(
            "Nothing was held out, so all numbers here are of data that the model was trained on.",
            f"{evaluate} --data HELD-OUT.jsonl",
        )
    yield from _not_evaluated(run, evaluate if run.holds_out else f"{evaluate} --data HELD-OUT.jsonl")


def _not_evaluated(run: RunRecord, evaluate: str) -> Iterator[Lack]:
    """Measurements of `preftune eval` that are missing, in as few commands as possible."""
    found = run.evaluation
    lacks_intervals = run.holds_out and (found is None or found.preferences is None)
    lacks_kl = run.is_preference_run and _kl_of(run) is None
    samples = " --samples 1" if lacks_kl else ""
    if lacks_intervals and lacks_kl:
        yield Lack("Intervals, calibration, and the KL to the reference.", evaluate + samples)
    elif lacks_intervals:
        yield Lack("Intervals, calibration, and parts of the held-out data.", evaluate)
    elif lacks_kl:
        yield Lack("The KL to the reference: the distance that the gain took.", evaluate + samples)
    if run.is_preference_run and not run.series("eval_win_rate") and (found is None or not found.win_rates):
        yield Lack(
            "A win rate by a judge: are the model's completions preferred?",
            f"{evaluate} --judge openai:MODEL --against reference",
        )


def _kl_of(run: RunRecord) -> Series | Interval | None:
    samples = None if run.evaluation is None else run.evaluation.samples
    return run.series(HELD_OUT + SAMPLES_KL) or (None if samples is None else samples.kl)


def evaluation_command(run: RunRecord) -> str | None:
    """Command that evaluates the newest model of the run; None if it has written none."""
    place = run.model_path()
    return None if place is None else f"preftune eval --model {shlex.quote(str(place))}"


def further_evaluation(run: RunRecord) -> str | None:
    """The single command that measures most of what is missing; None if there is nothing to measure."""
    evaluate = evaluation_command(run)
    if evaluate is None or not (run.holds_out or run.is_preference_run):
        return None
    data = "" if run.holds_out else " --data HELD-OUT.jsonl"
    samples = " --samples 1" if run.is_preference_run and _kl_of(run) is None else ""
    return f"{evaluate}{data}{samples}"


def generation_command(run: RunRecord) -> str | None:
    """Command that shows samples of the model beside those of the one before training."""
    place, base = run.model_path(), run.settings.get("model")
    if place is None:
        return None
    compared = "" if base is None else f" --compare {shlex.quote(str(base))}"
    return f"preftune generate --model {shlex.quote(str(place))}{compared} --prompt '...'"


def check_command(run: RunRecord) -> str:
    """Command that checks the data of the run."""
    data: Any = run.settings.get("data") or ["DATA"]
    return "preftune check " + " ".join(shlex.quote(str(name)) for name in data)


def _resume(run: RunRecord) -> str:
    config = shlex.quote(str(run.folder / CONFIG))
    return f"preftune train --config {config} --resume" + (" --no-stop-on-sick" if run.state == "sick" else "")
