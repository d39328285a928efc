"""The settings of a sweep itself, and of the evaluation of each of its points."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, replace
from typing import Any, ClassVar, Literal

from preftune.errors import ConfigError
from preftune.settings.evaluation_config import EvaluationConfig
from preftune.settings.evaluation_sections import IntervalSettings, JudgeSettings, MemorySettings, SampleSettings
from preftune.settings.setting import Section, Setting, setting, settings_of

_STRENGTHS = "0.25,0.5,1,2"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepSettings(Section):
    """The grid or search, its seeds, the value of a point, and the realigned models beside it."""

    title: ClassVar[str] = "Sweep"

    output: str = setting(
        MISSING, "Folder for the sweep: a run folder per point, sweep.json, frontier.png.", is_path=True
    )
    over: list[str] = setting(
        [], "Setting or option to sweep and its values, such as beta=0.03,0.1,0.3. All combinations are run."
    )
    search: list[str] = setting(
        [],
        "Setting or option to search with Optuna, instead of a grid, and its range or choices, such as "
        "beta=0.01:1:log or method=dpo,ipo.",
    )
    trials: int | None = setting(
        None, "Number of points of a search, including those of earlier commands.", within="[1, inf)"
    )
    seeds: str | None = setting(None, "Training seeds for each point, such as 0,1. Default: the value of --seed.")
    reward: str | None = setting(
        None,
        "Reward of a completion: python:MODULE:FUNCTION, a function (prompt, completion) -> number, or reward:MODEL. "
        "The value of a point is its mean over samples. Default: the win rate with --judge, else held-out accuracy.",
        is_path=True,
    )
    kl_budget: float | None = setting(
        None,
        "Recommend only points within this KL to the reference, in nats. Default: no limit.",
        within="(0, inf)",
        because="in nats",
    )
    realign: str | None = setting(
        None,
        "Point or run folder to mix with its reference at several strengths, for comparison with the trained runs.",
        is_path=True,
    )
    strengths: str = setting(_STRENGTHS, "Strengths of --realign: 0 is the reference, 1 the run.")

    def conflicts(self) -> Iterator[str]:
        """Messages about values that cannot work together."""
        if not self.output:
            yield "output: is empty. Name a folder with --output."
        yield from self._kind_problems()
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
        """The given seeds; empty for the seed of the runs."""
        return () if self.seeds is None else tuple(int(part) for part in self.seeds.split(","))

    @property
    def strength_numbers(self) -> tuple[float, ...]:
        """The strengths, from the reference outwards."""
        return tuple(sorted(numbers(self.strengths) or ()))


def numbers(text: str) -> list[float] | None:
    """Numbers separated by commas, or None if one of them is not a number.

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
"""Value of a model, under its name in a `PromptRecord`."""

VALUE_TEXTS: Mapping[ValueKind, str] = {
    "win_rate": "win rate",
    "score": "reward",
    "accuracy": "held-out accuracy",
}

_HELP = {"samples": "Completions to sample per prompt, for the KL and for the reward or judge. Default: 1."}

EVALUATION: Mapping[str, tuple[Setting, ...]] = {
    section.title: tuple(
        replace(item, help=_HELP.get(item.name, item.help)) for item in settings_of(section) if not item.not_swept
    )
    for section in (SampleSettings, JudgeSettings, IntervalSettings, MemorySettings)
}
"""Settings of an evaluation that a sweep takes, by title of their section."""


def value_kind(settings: SweepSettings, evaluation: Mapping[str, Any]) -> ValueKind:
    """Value of a model: reward, win rate, or else held-out accuracy."""
    if settings.reward is not None:
        return "score"
    return "win_rate" if evaluation.get("judge") is not None else "accuracy"


def value_format(kind: ValueKind) -> Callable[[float], str]:
    """Number format of a value: shares in percent.

    >>> value_format("win_rate")(0.625), value_format("score")(0.625)
    ('62.5%', '0.625')
    """
    return "{:z.3f}".format if kind == "score" else "{:.1%}".format


def resolved(settings: SweepSettings, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of each evaluation, as `EvaluationConfig.of` takes them. A reward is a judge that gives scores.

    >>> resolved(SweepSettings(output="s", over=["beta=1,2"], reward="python:m:f"), {"num_prompts": 9})
    {'samples': 1, 'num_prompts': 9, 'judge': 'python:m:f'}
    """
    found = {"samples": 1, **evaluation}
    return found if settings.reward is None else {**found, "judge": settings.reward}


def evaluation_problems(
    settings: SweepSettings, evaluation: Mapping[str, Any], *, holds_out: bool | None
) -> Iterator[str]:
    """Messages about evaluations that cannot work.

    Args:
        settings: Settings of the sweep.
        evaluation: Given settings of the evaluations.
        holds_out: True if the runs hold data out; None if that is not known.
    """
    if settings.reward is not None and evaluation.get("judge") is not None:
        yield "reward and judge: the value of a point is one of them. Give one."
    known = {item.name for items in EVALUATION.values() for item in items}
    unknown = [name for name in evaluation if name not in known]
    if unknown:
        yield from (f"{name}: is not a setting of the evaluations of a sweep. Leave it out." for name in unknown)
        return
    try:
        # Model and data exist only after the runs; any name stands for them here.
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
            "eval_data: nothing is held out, so points cannot be evaluated. Hold out a part with --eval-fraction 0.1, "
            "or give --eval-data; with --reward or --judge, --prompts is enough."
        )
    elif value_kind(settings, evaluation) == "accuracy":
        yield (
            "prompts: without held-out data, a reward or a judge a point has no value. Give "
            "--eval-data, --reward or --judge."
        )
