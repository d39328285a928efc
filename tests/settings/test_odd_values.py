"""Any value of any setting gives a config that works or a ConfigError that names the setting."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from preftune.errors import ConfigError
from preftune.losses import LOSSES, loss_options
from preftune.settings import SETTINGS, TrainConfig
from preftune.settings.config import names_of
from preftune.settings.evaluation_config import DATA, MODEL, EvaluationConfig
from preftune.settings.evaluation_config import SECTIONS as EVALUATION_SECTIONS
from preftune.settings.packages import OPTIMIZERS
from preftune.settings.sampling import Sampling
from preftune.settings.sweep_config import SweepConfig
from preftune.settings.sweep_sections import SweepSettings

NUMBERS = [math.nan, math.inf, -1, 0, 2, 2**32, 2**63, 10**400, 10**5000, 1e308, "1e999"]
TEXTS = ["", "nope", "x" * 100_000, "x" * 300, "a\0b", "a\n\x1b[31m[/b]", "\ud800"]
OTHERS = [None, True, [], [None], [math.nan], {}, {"a": math.nan}, {1: {2: 3}}]
ODD = [*NUMBERS, *TEXTS, *OTHERS]

TRAIN: dict[str, Any] = {"model": "gpt2", "data": "prefs.jsonl", "output": "run"}


def of_training(name: str, value: Any) -> None:
    config = TrainConfig.of(**{**TRAIN, name: value})
    assert config.learning_rate > 0
    if isinstance(value, str):
        assert yaml.safe_load(config.to_yaml())["output"] == config.output.output


def of_method(method: str, name: str, value: Any) -> None:
    TrainConfig.of(method, **{**TRAIN, name: value})


def of_sft(name: str, value: Any) -> None:
    of_method("sft", name, value)


def of_evaluation(name: str, value: Any) -> None:
    config = EvaluationConfig.of(**{"model": "gpt2", "data": "held-out.jsonl", name: value})
    assert config.result_file is None or value == str(config.result_file)


def of_sweep(name: str, value: Any) -> None:
    given = {} if name == "search" and value else {"over": "beta=0.1,0.3"}
    SweepConfig.of({**TRAIN, "eval_fraction": 0.1}, {"output": "sweep", **given, name: value})


def of_swept_runs(name: str, value: Any) -> None:
    SweepConfig.of({**TRAIN, "eval_fraction": 0.1, name: value}, {"output": "sweep", "over": "beta=0.1,0.3"})


def of_sampling(name: str, value: Any) -> None:
    if isinstance(value, (int, float)) and value != 10**5000:  # others are refused where flags are read
        given: dict[str, Any] = {name: value}
        Sampling(**given)


BUILDERS: Mapping[str, tuple[Callable[[str, Any], None], list[str]]] = {
    "train": (of_training, [*SETTINGS, "method"]),
    "sft": (of_sft, ["beta", "pairing", "eval_data", "reference_sync", "optimizer"]),
    "eval": (of_evaluation, [*(item.name for item in (*MODEL, *DATA)), *names_of(EVALUATION_SECTIONS.values())]),
    "sweep": (of_sweep, names_of([SweepSettings])),
    "runs of a sweep": (of_swept_runs, ["seed", "method", "optimizer", "output", "epochs", "lora_rank"]),
    "sampling": (of_sampling, names_of([Sampling])),
}


def problems_of(build: Callable[[str, Any], None], name: str, value: Any) -> tuple[str, ...]:
    try:
        build(name, value)
    except ConfigError as error:
        return error.problems
    return ()


def check(problems: tuple[str, ...], name: str, value: Any) -> None:
    assert not problems or any(name in problem for problem in problems), (name, value, problems)
    assert sum(map(len, problems)) < 2_000, name


@pytest.mark.parametrize("kind", BUILDERS)
def test_any_value_of_a_setting_is_valid_or_an_error_that_names_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    build, names = BUILDERS[kind]
    for name in names:
        for value in ODD:
            check(problems_of(build, name, value), name, value)


def test_any_value_of_an_option_of_a_method_is_valid_or_an_error_that_names_it() -> None:
    odd = [math.nan, -1, 10**400, 1e308, "x" * 100_000, {"a": 1}]
    for method, loss in LOSSES.items():
        for option in loss_options(loss):
            for value in odd:
                check(problems_of(partial(of_method, method), option.name, value), option.name, value)


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("optimizer", "nope", "there is no such optimizer"),
        ("optimizer", "", "there is no such optimizer"),
        ("optimizer", "adam_8bit", "Did you mean adamw_8bit?"),
        ("schedule", "nope", "must be one of cosine"),
        ("seed", 2**32, "must be in [0, 4294967295]"),
        ("seed", -1, "must be in [0, 4294967295]"),
        ("epochs", 1e308, "must be in (0, 1000000]"),
        ("epochs", math.nan, "must be in"),
        ("lora_rank", 0, "must be in [1, 65536]"),
        ("lora_rank", 10**9, "must be in [1, 65536]"),
        ("lora_alpha", math.nan, "must be a whole number"),
        ("lora_dropout", 2, "must be in [0, 1)"),
        ("learning_rate", math.inf, "must be above 0"),
        ("learning_rate", 1e308, "must be at most 1e+30"),
        ("max_steps", 2**63, "must be at most 2147483647"),
        ("model", "a\0b", "must not hold the character NUL"),
        ("output", "x" * 300, "255 in each name"),
        ("run_name", "\ud800", "must be Unicode text"),
        ("beta", 1e308, "must be at most 1e+30"),
    ],
)
def test_values_that_other_libraries_refuse_are_refused_before(name: str, value: Any, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig.of(**{**TRAIN, name: value})
    assert part in str(caught.value)


def test_all_odd_values_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig.of(**{**TRAIN, "optimizer": "nope", "seed": -1, "epochs": math.nan, "beta": math.inf})
    assert len(caught.value.problems) == 4


def test_the_optimizers_are_those_of_transformers() -> None:
    from transformers.training_args import OptimizerNames

    elsewhere = ("galore", "apollo", "lomo", "adalomo")
    assert set(OPTIMIZERS) == {item.value for item in OptimizerNames if not item.value.startswith(elsewhere)}
