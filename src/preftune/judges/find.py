"""The judge that the settings name."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from preftune.errors import ConfigError
from preftune.judges.function import function_judge
from preftune.judges.judge import Judge
from preftune.judges.people import FileJudge
from preftune.model.forward.arithmetic import Arithmetic
from preftune.settings.evaluation_sections import JudgeSettings

if TYPE_CHECKING:
    from preftune.judges.endpoint import EndpointJudge

__all__ = ["find_judge"]

_DEFAULT_TEMPLATE = "dialogue"
_DEFAULT_BASE_URL = "https://api.openai.com/v1"


def find_judge(settings: JudgeSettings, arithmetic: Arithmetic, *, trust_remote_code: bool = False) -> Judge:
    """The judge that is named.

    Args:
        settings: With a judge.
        arithmetic: How a reward model is run.
        trust_remote_code: Whether code that a reward model brings is run.
    Raises:
        ConfigError: no key for an endpoint, the client is not installed, or a judge prompt that cannot be used.
        JudgeError: a function or reward model that is not there or is no judge.
    """
    assert settings.judge is not None, "no judge is asked for"
    kind, _, name = settings.judge.partition(":")
    match kind:
        case "openai":
            return _endpoint(name, settings)
        case "python":
            return function_judge(name)
        case "file":
            return FileJudge(Path(name).expanduser())
    from preftune.judges.reward_model import reward_model_judge

    return reward_model_judge(name, arithmetic, trust_remote_code=trust_remote_code)


def _endpoint(model: str, settings: JudgeSettings) -> "EndpointJudge":
    from preftune.judges.budget import CallBudget
    from preftune.judges.template import JudgeTemplate

    try:
        from preftune.judges.endpoint import EndpointJudge
    except ImportError:
        raise ConfigError(
            [f"judge = openai:{model}: needs the openai client. Install it: pip install 'preftune[judge]'."]
        ) from None
    key, base_url = os.environ.get("OPENAI_API_KEY"), os.environ.get("OPENAI_BASE_URL")
    if not key and not base_url:
        raise ConfigError(
            [
                f"judge = openai:{model}: there is no key. Set OPENAI_API_KEY, or OPENAI_BASE_URL for an endpoint that "
                "needs none."
            ]
        )
    return EndpointJudge(
        model,
        JudgeTemplate.load(settings.judge_prompt or _DEFAULT_TEMPLATE),
        CallBudget(settings.judge_budget),
        base_url or _DEFAULT_BASE_URL,
        key or "none",
        settings.judge_timeout,
        settings.judge_concurrency,
    )
