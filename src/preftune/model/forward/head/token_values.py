"""What is known of each target's prediction."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

__all__ = ["TokenExtra", "TokenValues"]

TokenExtra = Literal["entropy", "log_collision"]
"""Values of `TokenValues` that are computed only when they are asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenValues:
    """Values of the next-token distribution p of the policy at the predictor of each target.

    logps         = log p(target)
    entropy       = -sum over v of p(v) * log p(v)
    log_collision = log of sum over v of p(v)^2
    kl            = KL(reference || policy) = sum over v of r(v) * (log r(v) - log p(v)), r of the reference

    Two draws from p are the same token with probability exp(log_collision).

    Args:
        logps: Differentiable by the policy.
        entropy, log_collision: Without gradient; None where not asked for.
        kl: Differentiable by the policy, at least 0 but for rounding; None where no reference was given.

    All are float32 or better. Shape: (target,). Unit: nats.
    """

    logps: Tensor
    entropy: Tensor | None = None
    log_collision: Tensor | None = None
    kl: Tensor | None = None
