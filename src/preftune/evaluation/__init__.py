"""Evaluation: a model's preferences on held-out data, its distance from the reference, what a judge says.

What needs transformers is imported when it is asked for, so that help texts and checks of settings do not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preftune.evaluation.bootstrap import Bootstrap, Interval
    from preftune.evaluation.config import EvaluationConfig
    from preftune.evaluation.implicit_reward import ImplicitReward
    from preftune.evaluation.preferences import Preferences, evaluate_preferences
    from preftune.evaluation.result import EvaluationResult
    from preftune.evaluation.run import evaluate
    from preftune.evaluation.samples import Samples, evaluate_samples
    from preftune.evaluation.training_measures import sample_measures
    from preftune.evaluation.win_rate import WinRate, rate_wins

__all__ = [
    "Bootstrap",
    "EvaluationConfig",
    "EvaluationResult",
    "ImplicitReward",
    "Interval",
    "Preferences",
    "Samples",
    "WinRate",
    "evaluate",
    "evaluate_preferences",
    "evaluate_samples",
    "rate_wins",
    "sample_measures",
]

_MODULES = {
    "Bootstrap": "bootstrap",
    "EvaluationConfig": "config",
    "EvaluationResult": "result",
    "ImplicitReward": "implicit_reward",
    "Interval": "bootstrap",
    "Preferences": "preferences",
    "Samples": "samples",
    "WinRate": "win_rate",
    "evaluate": "run",
    "evaluate_preferences": "preferences",
    "evaluate_samples": "samples",
    "rate_wins": "win_rate",
    "sample_measures": "training_measures",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
