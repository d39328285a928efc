"""How the models of a sweep are evaluated: settings of `preftune eval`, and what counts as a model's value."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from preftune.errors import ConfigError
from preftune.settings import Setting, settings_of
from preftune.settings.evaluation_config import EvaluationConfig
from preftune.settings.evaluation_sections import IntervalSettings, JudgeSettings, MemorySettings, SampleSettings
from preftune.settings.sweep_sections import SweepSettings

__all__ = [
    "EVALUATION",
    "MAY_CHANGE",
    "VALUE_TEXTS",
    "ValueKind",
    "evaluation_problems",
    "resolved",
    "value_format",
    "value_kind",
]

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
