"""The ignored errors below are tests, too: mypy reports each that it does not find."""

import runpy
from pathlib import Path

import pytest

import preftune
from preftune import TrainConfig
from preftune.errors import ConfigError

ROOT = Path(__file__).parents[2]


def test_the_keywords_are_those_of_the_settings() -> None:
    maker = runpy.run_path(str(ROOT / ".ci" / "keywords.py"))
    assert maker["PATH"].read_text() == maker["source"](), "run `make format`"


def test_a_misspelled_keyword_is_an_error_for_type_checkers_and_for_the_config() -> None:
    with pytest.raises(ConfigError, match=r"modle: there is no such setting\. Did you mean model\?"):
        TrainConfig.of(modle="m", data="d", output="o")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"betta: there is no such setting\. Did you mean beta\?"):
        preftune.train(model="m", data="d", output="o", betta=0.1)  # type: ignore[call-arg]


def test_a_value_of_the_wrong_type_is_an_error_for_type_checkers_and_for_the_config() -> None:
    with pytest.raises(ConfigError, match=r"schedule = 'sine': must be one of"):
        TrainConfig.of(model="m", data="d", output="o", schedule="sine")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"batch_size = '8': must be a whole number"):
        preftune.train(model="m", data="d", output="o", batch_size="8")  # type: ignore[arg-type]


def test_messages_of_python_calls_name_keywords() -> None:
    with pytest.raises(ConfigError, match=r"model: is not given.* Set it with model=\.\.\."):
        preftune.train(data=[{"prompt": "a", "chosen": "b", "rejected": "c"}], output="o")
