"""The first lines of a report: how the run ended, how healthy it was, and what has changed."""

import math
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from preftune.evaluation.result import EvaluationResult
from preftune.evaluation.win_rate import WinRate
from preftune.files.number_text import duration_text, number_text, percent_text
from preftune.files.run_files import CONFIG
from preftune.metrics.catalogue import HELD_OUT, METRICS, SAMPLES_KL, Metric
from preftune.metrics.intervals import Interval
from preftune.report.run_record import RunRecord, RunState
from preftune.runs.logs import Series
from preftune.runs.verdict import (
    Evidence,
    Judgement,
    Verdict,
    against_level,
    interval_ends,
    judgements_of,
    than_text,
)
from preftune.training.health.finding import HealthRecord
from preftune.training.health.rule import RUN_SEVERITIES

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
        is_sure: False if it may not have changed: it reads the same, or differs by less than two standard errors.
    """

    label: str
    before: str
    after: str
    note: str
    is_sure: bool = True


@dataclass(frozen=True, slots=True)
class Lead:
    """The first lines of a report.

    Args:
        verdict: Verdict of the run. Measurements of `preftune eval` replace those of the run.
        headline: The verdict's, or for a run that did not finish, how it ended.
        ended: The other one of the two.
        changes: Main numbers before and after, on held-out data if there are any.
    """

    verdict: Verdict
    headline: str
    ended: str
    health: str
    changes: tuple[Change, ...]

    @property
    def tone(self) -> str:
        """Tone of the verdict."""
        return self.verdict.tone

    @property
    def sentences(self) -> tuple[str, ...]:
        """Judgements of the verdict."""
        return tuple(judgement.text for judgement in self.verdict.judgements)


def lead_of(run: RunRecord) -> Lead:
    """The first lines of a run's report."""
    is_finished = run.state == "finished"
    health = run.health or HealthRecord(run.findings)
    verdict = Verdict.of(_judgements(run), health, is_finished=is_finished, is_sick=run.state in ("sick", "failed"))
    lines = [verdict.headline, _ended(run)]
    headline, ended = lines if is_finished else reversed(lines)
    is_known = run.health is not None or run.summary is not None
    return Lead(verdict, headline, ended, verdict.health if is_known else "No health record.", tuple(_changes(run)))


def _ended(run: RunRecord) -> str:
    steps = f"{run.num_steps:,} step" + "s" * (run.num_steps != 1)
    time = f" in {duration_text(run.summary.seconds)}" if run.summary and run.state != "unfinished" else ""
    kept = f" The model is the checkpoint of step {run.kept.step:,}." if run.kept else ""
    return f"{_ENDED[run.state]}: {steps}{time}.{kept}"


def _judgements(run: RunRecord) -> Iterator[Judgement]:
    """Judgements of `preftune eval`, whose intervals are by resampling, then those of the run on other subjects."""
    evaluated = [] if run.evaluation is None else list(_of_evaluation(run.evaluation))
    known = {judgement.subject for judgement in evaluated}
    if any(judgement.outcome in ("better", "worse") for judgement in evaluated):
        known |= {"change", "loss"}
    yield from evaluated
    if run.summary is not None and run.summary.verdict is not None:
        own: Iterable[Judgement] = run.summary.verdict.judgements
    else:
        own = judgements_of(_evidence(run))
    yield from (judgement for judgement in own if judgement.subject not in known)


def _evidence(run: RunRecord) -> Evidence:
    return Evidence(
        method=run.method,
        logs=run.logs,
        held_out=None if run.summary is None else run.summary.data.get("held out"),
        kept_step=None if run.kept is None else run.kept.step,
        judge=run.settings.get("judge"),
        judge_against=str(run.settings.get("judge_against", "start")),
    )


def _of_evaluation(found: EvaluationResult) -> Iterator[Judgement]:
    if found.preferences is not None and found.preferences.pairs is not None:
        accuracy = found.preferences.pairs.accuracy
        than = _against_half(accuracy, "chance")
        text = f"On {found.preferences.pairs.num_pairs:,} held-out pairs it is {than}."
        yield Judgement("accuracy", against_level(accuracy, 0.5), text)
    rate = main_win_rate(found)
    if rate is not None:
        is_reference = rate.against == "reference"
        opponent = f"the {rate.against}" if is_reference else rate.against
        than = _against_half(rate.rate, opponent)
        text = f"By the judge {rate.judge}, at temperature {rate.temperature:g}, its completions are {than}."
        # Another opponent than the reference says nothing about a change.
        yield Judgement("win rate", against_level(rate.rate, 0.5) if is_reference else "unclear", text)


def severities_text(run: RunRecord) -> str:
    """Number of findings of each severity; empty if there are none."""
    counts = [(name, sum(found.severity == name for found in run.findings)) for name in RUN_SEVERITIES]
    return ", ".join(f"{count} {name}" for name, count in counts if count)


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
    where = f"{percent_text(interval.value)} {interval_ends(interval, is_share=True)}".strip()
    return f"{than_text(against_level(interval, 0.5), opponent)}: {where}"


def _changes(run: RunRecord) -> Iterator[Change]:
    for name, metric in METRICS.items():
        if metric.shown != "headline":
            continue
        held_out = run.series(f"{HELD_OUT}{name}")
        is_evaluated = name == SAMPLES_KL and _evaluated_kl(run) is not None
        if held_out and not is_evaluated:
            yield _change(run, name, metric, held_out)
        elif not run.holds_out and not held_out and not is_evaluated:
            path = None if run.summary is None else run.summary.train.get(name)
            if path is not None:
                before, after = metric.text(path.first), metric.text(path.last)
                yield Change(metric.title, before, after, "training data", is_sure=before != after)
    yield from _evaluated(run)


def _change(run: RunRecord, name: str, metric: Metric, series: Series) -> Change:
    errors = run.series(f"{HELD_OUT}{name}_error")
    step = run.kept.step if run.kept and series.at(run.kept.step) is not None else series.steps[-1]
    first, after = series.values[0], series.at(step) or 0.0
    before = "" if len(series.steps) == 1 else metric.text(first)
    shown, note = metric.text(after), _of_samples(run) if metric.is_of_samples else "held out"
    error, error_before = errors.at(step), errors.at(series.steps[0])
    if name == "rewards/accuracies":
        note = _accuracy_note(run, after)
    elif error is not None and math.isfinite(error):
        shown, note = _with_error(metric, after, error), f"{note}; ± one standard error"
    if error is None or not math.isfinite(error):
        return Change(metric.title, before, shown, note, is_sure=before != shown)
    origin = 0.0 if name == SAMPLES_KL else first
    other = 0.0 if name == SAMPLES_KL or error_before is None else error_before
    return Change(metric.title, before, shown, note, is_sure=abs(after - origin) > 2 * math.hypot(error, other))


def _with_error(metric: Metric, value: float, error: float) -> str:
    """A value and its standard error, rounded to one digit of the error, or to two if the first is 1.

    >>> _with_error(METRICS["samples/kl"], -0.01548, 0.0789), _with_error(METRICS["samples/kl"], 6.1234, 0.1234)
    ('-0.02 ± 0.08', '6.12 ± 0.12')
    >>> _with_error(METRICS["win_rate"], 1 / 3, 0.2108)
    '33 ± 21 %'
    """
    if metric.form == "percent":
        return f"{100 * value:.0f} ± {100 * error:.0f} %"
    if error <= 0:
        return metric.text(value)
    leading = math.floor(math.log10(error))
    digits = max(0, -leading + (round(error / 10.0**leading, 1) < 2))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


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
            return f"held out; {found.confidence:.0%} interval {interval_ends(evaluated, is_share=True)}"
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
        yield Change(METRICS[SAMPLES_KL].title, "0", number_text(round(kl.value, 3)), f"{level} {interval_ends(kl)}")
    rate = main_win_rate(found)
    if rate is not None:
        note = f"{rate.judge} against {rate.against}; {level} {interval_ends(rate.rate, is_share=True)}"
        yield Change("win rate", "", percent_text(rate.rate.value), note)
        if rate.our_score is not None and rate.their_score is not None:
            theirs, ours = (number_text(round(score.value, 3)) for score in (rate.their_score, rate.our_score))
            yield Change(f"score, {rate.against} to model", theirs, ours, f"{level} {interval_ends(rate.our_score)}")


def _num_held_out(run: RunRecord) -> int | None:
    part = None if run.summary is None else run.summary.data.get("held out")
    return None if part is None else part.num_pairs or None


@dataclass(frozen=True, slots=True)
class Lack:
    """A missing measurement.

    Args:
        is_next: True if the run itself must continue first.
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
