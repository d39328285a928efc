"""Odd values of settings, given as flags to whole runs."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from preftune.settings import SETTINGS
from tests.campaign.commands import named, run
from tests.campaign.kills import attempt
from tests.campaign.mutation import judged
from tests.campaign.place import Place
from tests.campaign.trial import Attempt, Kind

__all__ = ["ODD_SETTINGS"]

_AT_A_TIME = 3
_VALUES: Sequence[str] = (
    "nan", "inf", "-inf", "-1", "0", "0.0", "1", "2", "0.5", "1e-320", "1e308", "4294967296", "9223372036854775808",
    "1" * 400, "",
    " ", "nope", "none", "null", "true", "[]", "{}", "{\"a\": 1}", "[/b]", "a\x1b[31m", "\udcff", "x" * 300, "../x",
    "/", "/dev/null", "/dev/full", "~", "*", "a,b", "a=b", "=", ",", "-", "é",
)  # fmt: skip
_BASES: Sequence[dict[str, Any]] = (
    {},
    {"lora": True},
    {"keep": "best"},
    {"eval_samples": 2, "eval_sample_tokens": 4},
    {"method": "kto", "data": "thumbs"},
)
_SECONDS_EACH = 30.0
_OPEN_ENDED = frozenset(
    ("epochs", "max_steps", "eval_samples", "eval_sample_tokens", "judge_samples", "lora_rank", "batch_size")
)
"""Settings whose large values make a long run, which is what was asked for."""


def _odd(place: Place, draw: Random, number: int) -> Iterator[Attempt]:
    for _ in range(_AT_A_TIME):
        names = draw.sample(list(SETTINGS), draw.choice([1, 1, 2]))
        given = [part for name in names for part in _flag(name, draw.choice(_VALUES))]
        base = run(epochs=1, save_every=None, **draw.choice(_BASES))(place.inputs)
        folder = place.new()
        ended = attempt(place, named("dpo"), folder, [*base, *given], at_most=_SECONDS_EACH)
        about = " ".join(map(repr, given))
        if ended.timed_out and not _OPEN_ENDED.isdisjoint(names):
            yield Attempt("held", about)
        else:
            yield judged(about, ended)


def _flag(name: str, value: str) -> list[str]:
    """A flag with its value; switches have none."""
    flag = name.replace("_", "-")
    if SETTINGS[name].type is bool:
        return [f"--{flag}" if len(value) % 2 else f"--no-{flag}"]
    return [f"--{flag}={value}"]


ODD_SETTINGS = Kind("settings", "runs", _odd, share=0.5)
