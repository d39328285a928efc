"""Values per target from all logits at once: for models whose head is not known, and to test by."""

import torch
from torch import Tensor

from preftune.model.forward.head.distributions import Distributions, check_same_tokens
from preftune.model.forward.head.linear_kl import kl_of_logits
from preftune.model.forward.head.linear_logits import LinearLogits
from preftune.model.forward.head.token_values import TokenExtra, TokenValues

__all__ = ["values_of_logits"]


def values_of_logits(
    logits: Tensor,
    targets: Tensor,
    *,
    extras: frozenset[TokenExtra] = frozenset(),
    reference: Distributions | None = None,
) -> TokenValues:
    """The values of each target's prediction.

    Args:
        logits: At the predictors, in any dtype. Shape: (target, vocabulary).
        targets: Token ids. Shape: (target,).
        extras: What to compute beside the log-probs.
        reference: Distributions of the reference for the same targets; None for no KL.
    Raises:
        ModelError: reference and policy do not give probabilities to the same tokens.

    >>> values = values_of_logits(torch.zeros(1, 4), torch.tensor([2]), extras=frozenset({"entropy", "log_collision"}))
    >>> values.logps, values.entropy, values.log_collision  # -ln 4, ln 4 and -ln 4
    (tensor([-1.3863]), tensor([1.3863]), tensor([-1.3863]))
    """
    all_logps = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    held = all_logps.detach()
    return TokenValues(
        logps=all_logps.gather(1, targets[:, None])[:, 0],
        entropy=torch.special.entr(held.exp()).sum(-1) if "entropy" in extras else None,
        log_collision=(2 * held).logsumexp(-1) if "log_collision" in extras else None,
        kl=None if reference is None else _kl(all_logps, reference),
    )


def _kl(all_logps: Tensor, reference: Distributions) -> Tensor:
    check_same_tokens(reference, all_logps.shape[1])
    held = reference.logits()
    return kl_of_logits(all_logps, held.computed() if isinstance(held, LinearLogits) else held)
