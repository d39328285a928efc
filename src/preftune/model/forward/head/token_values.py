"""Values of the next-token distributions of a batch, and the distributions themselves."""

from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from preftune.errors import ModelError
from preftune.model.forward.head.head import Head
from preftune.model.forward.head.linear_kl import kl_of_logits
from preftune.model.forward.head.tiles import LinearLogits, product_dtype

TokenExtra = Literal["entropy", "log_collision"]
"""Values of `TokenValues` that are computed only on request."""


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
        entropy, log_collision: Without gradient; None if not requested.
        kl: Differentiable by the policy, at least 0 up to rounding; None without reference.

    All are float32 or better. Shape: (target,). Unit: nats.
    """

    logps: Tensor
    entropy: Tensor | None = None
    log_collision: Tensor | None = None
    kl: Tensor | None = None


@final
@dataclass(frozen=True, slots=True, eq=False)
class AllLogps:
    """Log-probs of the whole vocabulary, which any model can give.

    Args:
        logps: In float32 or better. Shape: (target, vocabulary). Unit: nats.
    """

    logps: Tensor

    @classmethod
    def of_logits(cls, logits: Tensor) -> "AllLogps":
        """Of a model's own logits. Shape: (target, vocabulary)."""
        wide = torch.promote_types(logits.dtype, torch.float32)
        return cls(logits.detach().to(wide).log_softmax(-1))

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens that have a probability."""
        return self.logps.shape[1]

    def logits(self) -> Tensor:
        """The log-probs, which are logits as well."""
        return self.logps


@final
@dataclass(frozen=True, slots=True, eq=False)
class HeadStates:
    """The hidden states at the predictors, and the head that makes logits of them.

    The head is not copied: distributions are those of its weights at the time of use. So they are to be used before
    the next step, if the head is in training.

    Args:
        hidden: In the dtype of the matrix products. Shape: (target, width).
        head: LM head of the model that computed the states.
        vocabulary_size: Number of tokens that have a probability.
    """

    hidden: Tensor
    head: Head
    vocabulary_size: int

    @classmethod
    def at(cls, hidden: Tensor, head: Head) -> "HeadStates":
        """From hidden states as they arrive at a head whose weights are gathered. Shape: (target, width)."""
        return cls(hidden.detach().to(product_dtype(hidden)), head, len(head.linear.weight))

    def logits(self) -> LinearLogits:
        """The logits, not computed yet.

        Raises:
            ModelError: the weights of the head are no longer gathered.
        """
        expected, found = (self.vocabulary_size, self.hidden.shape[1]), tuple(self.head.linear.weight.shape)
        if found != expected:
            raise ModelError(
                f"the head of the reference has weights of shape {found}, where its distributions were taken with "
                f"{expected}: it is sharded, and not gathered when the policy's forward needs it. Keep the reference "
                "model whole on each process, or choose a loss that needs log-probs of tokens alone."
            )
        return self.head.logits(self.hidden)


Distributions = HeadStates | AllLogps
"""Of one batch, in the order of its targets."""


def check_same_tokens(reference: Distributions, vocabulary_size: int) -> None:
    """Check that reference and policy give probabilities to the same tokens.

    Raises:
        ModelError: their vocabularies are not of one size.
    """
    if reference.vocabulary_size != vocabulary_size:
        raise ModelError(
            f"the reference gives probabilities to {reference.vocabulary_size:,} tokens, the policy to "
            f"{vocabulary_size:,}: the KL between them is not defined. One of the heads is padded, or has tokens that "
            "the other has not. Bring both to one size with `model.resize_token_embeddings`, or choose a loss that "
            "needs log-probs of tokens alone."
        )


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
        extras: Values to compute beside the log-probs.
        reference: Distributions of the reference for the same targets; None for no KL.
    Raises:
        ModelError: reference and policy do not give probabilities to the same tokens.

    >>> values = values_of_logits(torch.zeros(1, 4), torch.tensor([2]), extras=frozenset({"entropy", "log_collision"}))
    >>> values.logps, values.entropy, values.log_collision  # -ln 4, ln 4 and -ln 4
    (tensor([-1.3863]), tensor([1.3863]), tensor([-1.3863]))
    """
    all_logps = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    detached = all_logps.detach()
    return TokenValues(
        logps=all_logps.gather(1, targets[:, None])[:, 0],
        entropy=torch.special.entr(detached.exp()).sum(-1) if "entropy" in extras else None,
        log_collision=(2 * detached).logsumexp(-1) if "log_collision" in extras else None,
        kl=None if reference is None else _kl_to(all_logps, reference),
    )


def _kl_to(all_logps: Tensor, reference: Distributions) -> Tensor:
    check_same_tokens(reference, all_logps.shape[1])
    logits = reference.logits()
    return kl_of_logits(all_logps, logits.computed() if isinstance(logits, LinearLogits) else logits)
