from pathlib import Path

import pytest
import torch

from preftune.errors import ConfigError
from preftune.judges.endpoint import EndpointJudge
from preftune.judges.find import find_judge
from preftune.judges.people import FileJudge
from preftune.model.forward.arithmetic import Arithmetic
from preftune.settings.evaluation_sections import JudgeSettings

CPU = Arithmetic(torch.device("cpu"))


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def test_an_endpoint_takes_key_and_address_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    settings = JudgeSettings(judge="openai:gpt-5", judge_prompt="summary", judge_concurrency=3, judge_timeout=5.0)
    judge = find_judge(settings, CPU)
    assert isinstance(judge, EndpointJudge)
    assert (judge.model, judge.template.name, judge.concurrency, judge.timeout) == ("gpt-5", "summary", 3, 5.0)
    assert (judge.api_key, judge.base_url) == ("secret", "https://api.openai.com/v1")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8000/v1")
    assert "http://localhost:8000/v1" in str(find_judge(settings, CPU).identity)


def test_an_endpoint_of_your_own_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:8000/v1")
    assert find_judge(JudgeSettings(judge="openai:mine"), CPU).name == "openai:mine"


def test_without_key_and_address_nobody_is_asked() -> None:
    with pytest.raises(ConfigError, match=r"there is no key\. Set OPENAI_API_KEY, or OPENAI_BASE_URL"):
        find_judge(JudgeSettings(judge="openai:gpt-5"), CPU)


def test_a_file_and_a_function_are_found_by_name() -> None:
    judge = find_judge(JudgeSettings(judge="file:~/verdicts.jsonl"), CPU)
    assert judge == FileJudge(Path("~/verdicts.jsonl").expanduser())
    assert find_judge(JudgeSettings(judge="python:builtins:pow"), CPU).name == "python:builtins:pow"
