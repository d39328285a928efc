"""What is not known of a run, and the command that would tell."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from preftune.metrics.bootstrap import Interval
from preftune.metrics.catalogue import HELD_OUT, SAMPLES_KL
from preftune.report.logs import Series
from preftune.report.run_record import RunRecord

__all__ = ["Lack", "check_command", "evaluation_command", "further_evaluation", "generation_command", "lacks_of"]


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that was not measured.

    Args:
        what: What is not known, as a sentence.
        command: What tells it; empty where nothing does any more.
    """

    what: str
    command: str


def lacks_of(run: RunRecord) -> Iterator[Lack]:
    """What was not measured, the most important first."""
    evaluate = evaluation_command(run)
    if evaluate is None:
        yield Lack("There is no model yet: the run has written none, nor a checkpoint.", _resume(run))
        return
    if run.state != "finished":
        yield Lack("The run did not come to its end.", _resume(run))
        return
    if not run.holds_out:
        yield Lack(
            "Nothing was held out, so that no number here is of data that the model has not learned from.",
            f"{evaluate} --data HELD-OUT.jsonl",
        )
    yield from _not_evaluated(run, evaluate if run.holds_out else f"{evaluate} --data HELD-OUT.jsonl")


def _not_evaluated(run: RunRecord, evaluate: str) -> Iterator[Lack]:
    """What `preftune eval` would tell, in as few commands as can be."""
    found = run.evaluation
    lacks_intervals = run.holds_out and (found is None or found.preferences is None)
    lacks_kl = run.is_preference_run and _kl_of(run) is None
    samples = " --samples 1" if lacks_kl else ""
    if lacks_intervals and lacks_kl:
        yield Lack(
            "Intervals and calibration, and the KL to the reference: how far the model moved.", evaluate + samples
        )
    elif lacks_intervals:
        yield Lack("Intervals, calibration, and parts of the held-out data.", evaluate)
    elif lacks_kl:
        yield Lack("The KL to the reference: how far the model has moved for what it gained.", evaluate + samples)
    if run.is_preference_run and not run.series("eval_win_rate") and (found is None or not found.win_rates):
        yield Lack(
            "Whether somebody prefers what it writes: a win rate by a judge.",
            f"{evaluate} --judge openai:MODEL --against reference",
        )


def _kl_of(run: RunRecord) -> Series | Interval | None:
    """Any measurement of the KL."""
    samples = None if run.evaluation is None else run.evaluation.samples
    return run.series(HELD_OUT + SAMPLES_KL) or (None if samples is None else samples.kl)


def evaluation_command(run: RunRecord) -> str | None:
    """How to evaluate the newest model of the run; None where it has written none."""
    place = run.model_path()
    return None if place is None else f"preftune eval --model {shlex.quote(str(place))}"


def further_evaluation(run: RunRecord) -> str | None:
    """The one command that tells most of what the run itself has not measured; None where there is no such thing."""
    evaluate = evaluation_command(run)
    if evaluate is None or not (run.holds_out or run.is_preference_run):
        return None
    data = "" if run.holds_out else " --data HELD-OUT.jsonl"
    samples = " --samples 1" if run.is_preference_run and _kl_of(run) is None else ""
    return f"{evaluate}{data}{samples}"


def generation_command(run: RunRecord) -> str | None:
    """How to see what the model writes, beside the one that it began from."""
    place, base = run.model_path(), run.settings.get("model")
    if place is None:
        return None
    compared = "" if base is None else f" --compare {shlex.quote(str(base))}"
    return f"preftune generate --model {shlex.quote(str(place))}{compared} --prompt '...'"


def check_command(run: RunRecord) -> str:
    """How to check the data of the run."""
    data: Any = run.settings.get("data") or ["DATA"]
    return "preftune check " + " ".join(shlex.quote(str(name)) for name in data)


def _resume(run: RunRecord) -> str:
    config = shlex.quote(str(run.folder / "config.yaml"))
    return f"preftune train --config {config} --resume" + (" --no-stop-on-sick" if run.state == "sick" else "")
