"""A reference that is computed another way than the policy."""

from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from preftune.model.forward.forward import Forward
from preftune.model.forward.head.distributions import Distributions
from preftune.model.forward.packed_batch import PackedBatch
from preftune.model.reference.reference import Reference

__all__ = ["ComputedBy"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class ComputedBy:
    """A reference whose log-probs are computed by `forward`, whatever those of the policy are computed by.

    Args:
        forward: Takes the place of the one that the methods are given.
        reference: What is computed.
    """

    forward: Forward
    reference: Reference

    def logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Tensor | None:  # noqa: ARG002
        """See `Reference.logps`."""
        return self.reference.logps(self.forward, policy, batch)

    def token_logps(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Tensor | None:  # noqa: ARG002
        """See `Reference.token_logps`."""
        return self.reference.token_logps(self.forward, policy, batch)

    def distributions(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Distributions | None:  # noqa: ARG002
        """See `Reference.distributions`."""
        return self.reference.distributions(self.forward, policy, batch)
