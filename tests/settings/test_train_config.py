from pathlib import Path
from typing import Any

import pytest
import yaml

from preftune.errors import ConfigError
from preftune.settings import SECTIONS, TrainConfig, settings_of

NEEDED = {"model": "gpt2", "data": "prefs.jsonl", "output": "run"}


def config(**settings: Any) -> TrainConfig:
    return TrainConfig.of(**{**NEEDED, **settings})


def test_names_of_settings_are_unique_over_all_topics() -> None:
    names = [item.name for section in SECTIONS.values() for item in settings_of(section)]
    assert len(names) == len(set(names))


def test_every_setting_has_help_that_is_a_sentence() -> None:
    for section in SECTIONS.values():
        for item in settings_of(section):
            assert item.help.endswith("."), item.name


def test_a_config_survives_its_yaml(tmp_path: Path) -> None:
    first = config(beta=0.25, columns="chosen=better,rejected=worse", lora=True, learning_rate=5e-6, eval_data="x.csv")
    (tmp_path / "config.yaml").write_text(first.to_yaml())
    assert TrainConfig.read(tmp_path / "config.yaml") == first
    assert yaml.safe_load(first.to_yaml())["columns"] == {"chosen": "better", "rejected": "worse"}


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(config(beta=0.25).to_yaml())
    assert TrainConfig.read(tmp_path / "config.yaml", beta=0.5).method.options["beta"] == 0.5


def test_all_problems_are_reported_at_once() -> None:
    wrong: dict[str, Any] = {"tau": 1, "beta": -1, "batch_size": 0, "schedule": "sine", "betta": 1}
    with pytest.raises(ConfigError) as caught:
        TrainConfig.of(method="dpo", **wrong, output="run", data="x")
    text = str(caught.value)
    for part in (
        "beta = -1.0: must be above 0",
        "betta: there is no such setting. Did you mean beta?",
        "batch_size = 0: must be at least 1",
        "schedule = 'sine': must be one of cosine, linear, constant",
        "model: is not given",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"batch_size": "many"}, "batch_size = 'many': must be a whole number"),
        ({"learning_rate": "fast"}, "learning_rate = 'fast': must be a number"),
        ({"lora": "yes"}, "lora = 'yes': must be true or false"),
        ({"columns": "better"}, "must be written as name=column"),
        ({"epochs": float("nan")}, "epochs = nan: must be in (0, 1000000]"),
        ({"beta": "high"}, "beta = high: must be a finite number"),
        ({"eval_fraction": 1.0}, "eval_fraction = 1.0: must be in [0, 1)"),
        ({"eval_fraction": 0.1, "eval_data": "x"}, "eval_fraction and eval_data"),
        ({"overwrite": True, "resume": True}, "overwrite and resume"),
        ({"max_length": 1}, "max_length = 1: must be at least 2"),
        ({"max_tokens_per_microbatch": "much"}, "max_tokens_per_microbatch = 'much': must be a whole number or auto"),
        ({"max_tokens_per_microbatch": 1}, "max_tokens_per_microbatch = 1: must be at least 2, or auto"),
        ({"method": "sft", "beta": 0.1}, "beta: not an option of method sft"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(**settings)
    assert text in str(caught.value)


def test_yaml_may_write_small_numbers_without_a_dot(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: m\ndata: d\noutput: o\nlearning_rate: 1e-6\n")
    assert TrainConfig.read(tmp_path / "config.yaml").learning_rate == 1e-6


def test_the_token_budget_is_a_number_or_auto_or_left_to_the_default(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model: m\ndata: d\noutput: o\nmax_tokens_per_microbatch: auto\n")
    in_file = TrainConfig.read(tmp_path / "config.yaml")
    assert in_file.steps.max_tokens_per_microbatch == "auto"
    assert "max_tokens_per_microbatch: auto\n" in in_file.to_yaml()
    assert config(max_tokens_per_microbatch=512).steps.max_tokens_per_microbatch == 512
    assert config().steps.max_tokens_per_microbatch is None


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: [\n", "\x00\x01", "1: 2\n"])
def test_a_file_that_is_no_config_is_refused_by_name(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"config\.yaml: "):
        TrainConfig.read(tmp_path / "config.yaml")


def test_a_config_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"missing\.yaml: cannot be read"):
        TrainConfig.read("missing.yaml")


@pytest.mark.parametrize(
    ("settings", "rate"),
    [({"method": "dpo"}, 1e-6), ({"method": "sft"}, 2e-5), ({"lora": True}, 1e-5), ({"learning_rate": 3e-4}, 3e-4)],
)
def test_the_learning_rate_has_a_default_for_each_kind_of_run(settings: dict[str, Any], rate: float) -> None:
    assert config(**settings).learning_rate == pytest.approx(rate)
