"""Next-token distributions at all predictors of a batch, held without gradient and cheaply."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from preftune.errors import ModelError
from preftune.model.forward.head.head import Head
from preftune.model.forward.head.linear_logits import LinearLogits
from preftune.model.forward.head.logit_tiles import product_dtype

__all__ = ["AllLogps", "Distributions", "HeadStates", "check_same_tokens"]


@final
@dataclass(frozen=True, slots=True, eq=False)
class AllLogps:
    """Log-probs of the whole vocabulary: what any model can give.

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
        """How many tokens have a probability."""
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
        head: Of the model that the states are from.
        vocabulary_size: How many tokens have a probability.
    """

    hidden: Tensor
    head: Head
    vocabulary_size: int

    @classmethod
    def at(cls, hidden: Tensor, head: Head) -> "HeadStates":
        """Of hidden states as they arrive at a head whose weights are at hand. Shape: (target, width)."""
        return cls(hidden.detach().to(product_dtype(hidden)), head, len(head.linear.weight))

    def logits(self) -> LinearLogits:
        """What the logits are made of.

        Raises:
            ModelError: the weights of the head are not at hand any more.
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
    """Make sure that reference and policy give probabilities to the same tokens.

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
