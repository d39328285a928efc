"""The settings of a sweep itself, and of the evaluation of each of its points."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from typing import Any, Literal

from preftune.errors import ConfigError
from preftune.settings import Setting, settings_of
from preftune.settings.evaluation_config import EvaluationConfig
from preftune.settings.evaluation_sections import IntervalSettings, JudgeSettings, MemorySettings, SampleSettings
from preftune.settings.setting import setting

__all__ = [
    "EVALUATION",
    "MAY_CHANGE",
    "VALUE_TEXTS",
    "SweepSettings",
    "ValueKind",
    "evaluation_problems",
    "resolved",
    "value_format",
    "value_kind",
]

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


ValueKind = Literal["win_rate", "score", "accuracy"]
"""What a model is judged by, under its name in a `PromptRecord`."""

VALUE_TEXTS: Mapping[ValueKind, str] = {
    "win_rate": "win rate",
    "score": "reward",
    "accuracy": "held-out accuracy",
}

_LEFT_OUT = ("seed", "best_of", "best_of_from")
"""The seed is the same for all points, so that they are compared on the same prompts and random numbers."""

_HELP = {"samples": "Completions to draw per prompt, for the KL and for what a reward or judge rates. Default: 1."}

EVALUATION: Mapping[str, tuple[Setting, ...]] = {
    str(section.__doc__): tuple(
        Setting(item.name, item.type, item.default, _HELP.get(item.name, item.help))
        for item in settings_of(section)
        if item.name not in _LEFT_OUT
    )
    for section in (SampleSettings, JudgeSettings, IntervalSettings, MemorySettings)
}
"""Those that a sweep takes, by topic."""

MAY_CHANGE = frozenset({"judge_budget", "judge_concurrency", "judge_timeout", "max_tokens"})
"""Those that do not change what is measured, so that a sweep may go on with others."""


def value_kind(settings: SweepSettings, evaluation: Mapping[str, Any]) -> ValueKind:
    """What a model is judged by: the win rate, a reward, or else held-out accuracy."""
    if settings.reward is not None:
        return "score"
    return "win_rate" if evaluation.get("judge") is not None else "accuracy"


def value_format(kind: ValueKind) -> Callable[[float], str]:
    """How a value is written: shares in percent.

    >>> value_format("win_rate")(0.625), value_format("score")(0.625)
    ('62.5%', '0.625')
    """
    return "{:z.3f}".format if kind == "score" else "{:.1%}".format


def resolved(settings: SweepSettings, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of each evaluation, as `EvaluationConfig.of` takes them; a reward is a judge that scores.

    >>> resolved(SweepSettings(output="s", over=["beta=1,2"], reward="python:m:f"), {"num_prompts": 9})
    {'samples': 1, 'num_prompts': 9, 'judge': 'python:m:f'}
    """
    found = {"samples": 1, **evaluation}
    return found if settings.reward is None else {**found, "judge": settings.reward}


def evaluation_problems(
    settings: SweepSettings, evaluation: Mapping[str, Any], *, holds_out: bool | None
) -> Iterator[str]:
    """What cannot work, one text each.

    Args:
        settings: Of the sweep.
        evaluation: As given.
        holds_out: Whether the runs hold data out; None if that is not known.
    """
    if settings.reward is not None and evaluation.get("judge") is not None:
        yield "reward and judge: the value of a point is one of them. Give one."
    known = {item.name for items in EVALUATION.values() for item in items}
    unknown = [name for name in evaluation if name not in known]
    if unknown:
        yield from (f"{name}: is no setting of the evaluations of a sweep. Leave it out." for name in unknown)
        return
    try:
        # The model and the data are there once a run is done; any name stands for them now.
        config = EvaluationConfig.of(model="-", data="-", **resolved(settings, evaluation))
    except ConfigError as error:
        yield from error.problems
        return
    if config.num_samples < 1:
        yield "samples = 0: the KL of a point is measured on samples. Leave it out, or raise it."
    if len(config.samples.temperature) > 1:
        yield "temperature: points are compared at one temperature. Name one, or leave it out."
    if holds_out is False:
        yield from _without_data(settings, evaluation)


def _without_data(settings: SweepSettings, evaluation: Mapping[str, Any]) -> Iterator[str]:
    if evaluation.get("prompts") is None:
        yield (
            "eval_data: nothing is held out, so that points cannot be evaluated. Hold out a part with --eval-fraction "
            "0.1, or give --eval-data; with --reward or --judge --prompts will do."
        )
    elif value_kind(settings, evaluation) == "accuracy":
        yield (
            "prompts: without held-out data, a reward or a judge there is nothing to value a point by. Give "
            "--eval-data, --reward or --judge."
        )
