"""The seams for what else is measured at every evaluation: of the policy, or of samples of it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import nn

from preftune.training.drawn_samples import DrawnSamples

__all__ = ["Measure", "SampleMeasure"]


class Measure(Protocol):
    """Further metrics of the policy as it is at an evaluation.

    They are logged as `eval_NAME`, and `--keep best --metric NAME:higher` (or `NAME:lower`) may choose by them. Called
    on every rank, which must all come to the same numbers, with the policy in evaluation mode.
    """

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        """Values by name, without `eval_`.

        Args:
            model: The policy, as the trainer wraps it.
        """


class SampleMeasure(Protocol):
    """Further metrics of the samples that were drawn at an evaluation, such as a judge's win rate.

    They are logged and may choose as those of a `Measure`. Called on the main process alone, which tells the others.
    """

    def __call__(self, drawn: DrawnSamples, start: Sequence[str]) -> Mapping[str, float]:
        """Values by name, without `eval_`.

        Args:
            drawn: What the policy wrote.
            start: What it wrote before the first step, to the same prompts.
        """
