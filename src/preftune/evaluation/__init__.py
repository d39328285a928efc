"""Evaluation: completions drawn from a model, its distance from the reference, its preferences on held-out pairs."""

from preftune.evaluation.estimate import Estimate
from preftune.evaluation.generation import Generation, generate
from preftune.evaluation.kl import sampled_kl
from preftune.evaluation.logps import referenced_logps
from preftune.evaluation.preferences import PreferenceAccuracy, preference_accuracy
from preftune.evaluation.sampling import Sampling

__all__ = [
    "Estimate",
    "Generation",
    "PreferenceAccuracy",
    "Sampling",
    "generate",
    "preference_accuracy",
    "referenced_logps",
    "sampled_kl",
]
