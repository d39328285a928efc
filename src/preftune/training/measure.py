"""The seam for what else is measured of the policy at every evaluation."""

from collections.abc import Mapping
from typing import Protocol

from torch import nn

__all__ = ["Measure"]


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
