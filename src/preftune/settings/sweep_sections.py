"""The settings that only a sweep has. The class checks its own."""

import math
from collections.abc import Iterator
from dataclasses import MISSING, dataclass

from preftune.settings.setting import setting

__all__ = ["SweepSettings"]

_STRENGTHS = "0.25,0.5,1,2"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepSettings:
    """Sweep"""

    output: str = setting(MISSING, "Folder of the sweep: a run folder for each point, sweep.json, frontier.png.")
    over: list[str] = setting(
        [], "A setting or option and its values, such as beta=0.03,0.1,0.3. Of several all combinations are run."
    )
    search: list[str] = setting(
        [],
        "Instead of a grid: a setting or option and its range or choices, such as beta=0.01:1:log or method=dpo,ipo, "
        "searched by Optuna.",
    )
    trials: int | None = setting(None, "Points of a search, those of earlier calls included.")
    seeds: str | None = setting(None, "Seeds of the runs of each point, such as 0,1. Default: that of the base.")
    reward: str | None = setting(
        None,
        "What a completion is worth: python:MODULE:FUNCTION, (prompt, completion) -> number, or reward:MODEL. The "
        "value of a point is its mean over samples. Without it the win rate (--judge), or else held-out accuracy.",
    )
    kl_budget: float | None = setting(None, "Recommend only points whose KL to the reference is within it, in nats.")
    realign: str | None = setting(
        None, "Point, or folder of a run, to mix with its reference at several strengths, beside the trained frontier."
    )
    strengths: str = setting(_STRENGTHS, "Strengths of the mix: 0 is the reference, 1 the run; beta / strength.")

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each."""
        if not self.output:
            yield "output: is empty. Name a folder with --output."
        yield from self._kind_problems()
        if self.kl_budget is not None and not (math.isfinite(self.kl_budget) and self.kl_budget > 0):
            yield f"kl_budget = {self.kl_budget}: is a distance in nats and must be above 0."
        if self.seeds is not None:
            yield from _seed_problems(self.seeds)
        yield from self._strength_problems()

    def _kind_problems(self) -> Iterator[str]:
        if not self.over and not self.search:
            yield "over: nothing is swept. Name a setting and its values, such as --over beta=0.03,0.1,0.3."
        if self.over and self.search:
            yield "over and search: one runs a grid, the other draws points. Give one of them."
        if self.search and self.trials is None:
            yield "trials: how many points is the search to try? Set it with --trials 20."
        if self.trials is not None and self.trials < 1:
            yield f"trials = {self.trials}: must be at least 1."
        if self.trials is not None and not self.search:
            yield f"trials = {self.trials}: a grid has as many points as it has. Leave it out, or give --search."
        kind = None if self.reward is None else self.reward.partition(":")[0]
        if kind is not None and kind not in ("python", "reward"):
            yield f"reward = {self.reward}: must be python:MODULE:FUNCTION or reward:MODEL."

    def _strength_problems(self) -> Iterator[str]:
        strengths = numbers(self.strengths)
        if strengths is None or not strengths or min(strengths) < 0 or not all(map(math.isfinite, strengths)):
            yield f"strengths = {self.strengths}: must be numbers of at least 0, such as {_STRENGTHS}."
        elif len(set(strengths)) < len(strengths):
            yield f"strengths = {self.strengths}: one is named twice. Name each once."
        if self.realign is None and self.strengths != _STRENGTHS:
            yield f"strengths = {self.strengths}: nothing is realigned. Name a point with --realign, or leave it out."

    @property
    def seed_numbers(self) -> tuple[int, ...]:
        """The seeds that are given; none for that of the base."""
        return () if self.seeds is None else tuple(int(part) for part in self.seeds.split(","))

    @property
    def strength_numbers(self) -> tuple[float, ...]:
        """The strengths, from the reference outwards."""
        return tuple(sorted(numbers(self.strengths) or ()))


def numbers(text: str) -> list[float] | None:
    """Numbers between commas; None where one is no number.

    >>> numbers("0.5, 2"), numbers("a,1")
    ([0.5, 2.0], None)
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return None


def _seed_problems(text: str) -> Iterator[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        yield f"seeds = {text}: must be whole numbers of at least 0, such as 0,1."
    elif len(set(map(int, parts))) < len(parts):
        yield f"seeds = {text}: one is named twice. Name each once."
