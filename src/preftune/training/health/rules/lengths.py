"""Samples become much longer or shorter, or come to no end any more."""

import math
from collections.abc import Iterator

from preftune.training.health.history import History
from preftune.training.health.rule import RunFacts, Symptom

__all__ = ["LEAST_FALL", "LEAST_RATIO", "NUM_ERRORS", "lengths"]

LEAST_RATIO = 2.0
LEAST_FALL = 0.5
NUM_ERRORS = 3.0
"""Standard errors by which a difference must be beyond chance: there may be few samples."""


def lengths(history: History, run: RunFacts) -> Symptom | None:
    """The last samples are twice or half as long as those before the first step, or much fewer of them end."""
    found = [*_length(history), *_ends(history, run)]
    return max(found, key=lambda symptom: symptom.size, default=None)


def _length(history: History) -> Iterator[Symptom]:
    means, errors = history.held_out("samples/num_tokens"), history.held_out("samples/num_tokens_error")
    if None in (means.first, means.last, errors.first, errors.last):
        return
    first, last, chance = means.first or 0.0, means.last or 0.0, math.hypot(errors.first or 0.0, errors.last or 0.0)
    ratio = max(first, last) / max(min(first, last), 1e-9)
    if ratio < LEAST_RATIO or abs(last - first) < NUM_ERRORS * chance:
        return
    yield Symptom(f"samples are {last:.3g} tokens long on average, and were {first:.3g}", ratio / LEAST_RATIO)


def _ends(history: History, run: RunFacts) -> Iterator[Symptom]:
    ends = history.held_out("samples/finished")
    if ends.first is None or ends.last is None or not run.num_samples:
        return
    # The standard error of a difference of two shares is the largest where both are a half.
    least = max(LEAST_FALL, NUM_ERRORS * math.sqrt(0.5 / run.num_samples))
    fall = ends.first - ends.last
    if fall >= least:
        text = f"{ends.last:.0%} of samples come to an end within the limit, and {ends.first:.0%} did"
        yield Symptom(text, fall / least)
