"""What a pair's margin is made of, for each divergence that may hold the policy to the reference."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from preftune.losses.options import check_unused, check_word

__all__ = ["Divergence", "divergence_score"]

Divergence = Literal["reverse_kl", "forward_kl", "js", "alpha"]

_ANY_ALPHA = 0.5
_LARGEST_EXPONENT = 60.0


def divergence_score(logratio: Tensor, divergence: Divergence, *, alpha: float) -> Tensor:
    """f'(u) at u = exp(logratio), without the constant of it that falls out of margins.

    reverse_kl: log u    forward_kl: -1/u    js: log(2u / (1 + u))    alpha: (1 - u^-alpha) / alpha

    Above an exponent of 60 the powers of u go on along their tangent: float32 and bfloat16 end at 88.

    Raises:
        ValueError: an unknown divergence, alpha outside (0, 1), or alpha with another divergence.

    >>> logratio = torch.tensor([math.log(4.0)])
    >>> divergence_score(logratio, "alpha", alpha=0.5)  # (1 - 4^-0.5) / 0.5
    tensor([1.])
    >>> divergence_score(logratio, "forward_kl", alpha=0.5)  # 1 - 1/4
    tensor([0.7500])
    >>> divergence_score(logratio, "js", alpha=0.5)  # log(8/5)
    tensor([0.4700])
    """
    check_word("divergence", divergence, Divergence)
    if divergence != "alpha":
        check_unused("alpha", alpha, default=_ANY_ALPHA, needs="divergence = alpha")
    elif not 0 < alpha < 1:
        raise ValueError(f"alpha = {alpha}: must be in (0, 1). At 0 it is divergence = reverse_kl, at 1 forward_kl.")
    match divergence:
        case "reverse_kl":
            return logratio
        case "forward_kl":
            return -_expm1(-logratio)
        case "js":
            return math.log(2) + logsigmoid(logratio)
        case "alpha":
            return -_expm1(-alpha * logratio) / alpha


def _expm1(exponent: Tensor) -> Tensor:
    beyond = torch.relu(exponent - _LARGEST_EXPONENT)
    return torch.expm1(exponent.clamp(max=_LARGEST_EXPONENT)) + math.exp(_LARGEST_EXPONENT) * beyond
