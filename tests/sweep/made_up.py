"""Evaluations with known numbers."""

from collections.abc import Sequence

import numpy as np

from preftune.evaluation.by_prompt import ByPrompt
from preftune.metrics.intervals import Bootstrap
from preftune.sweep.model_evaluation import ModelEvaluation
from preftune.sweep.recommendation import SeedMean, seed_means

__all__ = ["BOOTSTRAP", "by_prompt", "evaluated", "means_of"]

BOOTSTRAP = Bootstrap(num_resamples=200)


def by_prompt(values: Sequence[float], prefix: str = "p") -> ByPrompt:
    """One row for each prompt."""
    return ByPrompt(tuple(f"{prefix}{number}" for number in range(len(values))), tuple(values), (1.0,) * len(values))


def evaluated(
    value: float, kl: float, *, spread: float = 0.0, num_prompts: int = 40, prefix: str = "p", folder: str = "run"
) -> ModelEvaluation:
    """A model with this value and KL, which differ from prompt to prompt by `spread` in the same way for all models."""
    waves = spread * np.cos(np.arange(num_prompts))
    waves -= waves.mean()
    return ModelEvaluation(
        folder=folder,
        step=10,
        strength=1.0,
        value=by_prompt((value + waves).tolist(), prefix),
        kl=by_prompt((kl + waves).tolist(), prefix),
        accuracy=None,
        reference_value=None,
        is_complete=True,
    )


def means_of(**runs: ModelEvaluation | Sequence[ModelEvaluation]) -> dict[str, SeedMean]:
    """Means over seeds, by name."""
    lists = {name: [found] if isinstance(found, ModelEvaluation) else list(found) for name, found in runs.items()}
    return seed_means(lists, "score", BOOTSTRAP)
