"""Log-probs of a policy mixed with its reference, token by token: realignment without training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, final

import torch
from torch import Tensor, nn

from preftune.errors import ModelError
from preftune.model.forward.forward import Forward
from preftune.model.forward.head.tiles import DEFAULT_TILES, Tiles, stretches
from preftune.model.forward.head.token_values import (
    AllLogps,
    Distributions,
    TokenExtra,
    TokenValues,
    values_of_logits,
)
from preftune.model.forward.packed_batch import PackedBatch
from preftune.planning.sizes import Layout


class HasDistributions(Protocol):
    """The part of `preftune.model.reference.Reference` that the mix needs."""

    def distributions(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Distributions | None:
        """The next-token distributions at all predictors; None where there is no reference."""


def mixed_logits(policy: Tensor, reference: Tensor, strength: float) -> Tensor:
    """Logits of the realigned policy.

    mix = (1 - strength) * reference + strength * policy

    A strength of 0 gives the reference and 1 the policy, exactly. For every other strength, tokens with probability 0
    under either model stay at 0.

    Args:
        policy, reference: Logits, normalized or not. Shape: (..., vocabulary).
        strength: At least 0.
    Returns:
        In float32 or better. Shape: (..., vocabulary).
    Raises:
        ModelError: the two do not give probabilities to the same tokens.
    Source: Liu et al. 2024, arXiv:2402.02992, Section 3.

    >>> mixed_logits(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0]), 0.75)
    tensor([1.5000, 1.0000])
    """
    check_mixable(policy.shape[-1], reference.shape[-1])
    wide = torch.promote_types(torch.promote_types(policy.dtype, reference.dtype), torch.float32)
    if strength in (0, 1):
        return (policy if strength else reference).to(wide)
    mixed = reference.to(wide) * (1 - strength) + policy.to(wide) * strength
    excluded = torch.isneginf(policy) | torch.isneginf(reference)  # 0 * inf is NaN.
    return mixed.masked_fill(excluded, -torch.inf)


def check_mixable(num_of_policy: int, num_of_reference: int) -> None:
    """Make sure that policy and reference give probabilities to as many tokens.

    Raises:
        ModelError: they do not.
    """
    if num_of_policy != num_of_reference:
        raise ModelError(
            f"the model gives probabilities to {num_of_policy:,} tokens, the reference to {num_of_reference:,}: they "
            "cannot be mixed. Name the model that this one was tuned from, or bring both to one size with "
            "`model.resize_token_embeddings`."
        )


@final
@dataclass(frozen=True, slots=True, eq=False)
class RealignedForward:
    """Runs policy and reference, and gives the log-probs of their mix. A `Forward`; its results have no gradient.

    log pi(token) = log softmax((1 - strength) * reference logits + strength * policy logits)

    The logits of `tiles.tokens` tokens exist at a time, so that memory stays bounded. A strength of 1 is the policy's
    own forward.

    Args:
        inner: Forward of both models.
        reference: The model that is mixed in.
        strength: 0: the reference, 1: the policy, more: beyond.
        tiles: Says how many tokens have logits at a time.
    Source: Liu et al. 2024, arXiv:2402.02992, Section 3.
    """

    inner: Forward
    reference: HasDistributions
    strength: float
    tiles: Tiles = DEFAULT_TILES

    @property
    def layout(self) -> Layout:
        """See `Forward.layout`."""
        return self.inner.layout

    def token_logps(self, model: nn.Module, batch: PackedBatch) -> Tensor:
        """See `Forward.token_logps`.

        Raises:
            ModelError, ValueError: those of `token_values`.
        """
        return self.token_values(model, batch).logps

    def token_values(
        self,
        model: nn.Module,
        batch: PackedBatch,
        *,
        extras: frozenset[TokenExtra] = frozenset(),
        reference: Distributions | None = None,
    ) -> TokenValues:
        """See `Forward.token_values`; `model` is the policy, and the KL is taken to `reference`.

        Raises:
            ModelError: the models do not give probabilities to the same tokens, or cannot be run.
            ValueError: the reference runs no model.
        """
        with torch.no_grad():
            if self.strength == 1:
                return self.inner.token_values(model, batch, extras=extras, reference=reference)
            policy, mixed_in = self._both(model, batch)
            parts = [
                values_of_logits(
                    mixed_logits(_logits(policy, tokens), _logits(mixed_in, tokens), self.strength),
                    batch.targets[tokens],
                    extras=extras,
                    reference=None if reference is None else _part(reference, tokens),
                )
                for tokens in stretches(len(batch.targets), self.tiles.tokens)
            ]
        return _joined(parts)

    def distributions(self, model: nn.Module, batch: PackedBatch) -> Distributions:
        """See `Forward.distributions`. The log-probs of the whole vocabulary exist at once.

        Raises:
            ModelError, ValueError: those of `token_values`.
        """
        with torch.no_grad():
            if self.strength == 1:
                return self.inner.distributions(model, batch)
            policy, mixed_in = self._both(model, batch)
            everything = slice(None)
            logits = mixed_logits(_logits(policy, everything), _logits(mixed_in, everything), self.strength)
            return AllLogps.of_logits(logits)

    def _both(self, model: nn.Module, batch: PackedBatch) -> tuple[Distributions, Distributions]:
        """Distributions of policy and reference."""
        mixed_in = self.reference.distributions(self.inner, model, batch)
        if mixed_in is None:
            raise ValueError("the reference gives no distributions. Give one that holds a model, such as FrozenCopy.")
        # At a strength of 0 the policy does not count, so it is not run.
        policy = self.inner.distributions(model, batch) if self.strength != 0 else mixed_in
        check_mixable(policy.vocabulary_size, mixed_in.vocabulary_size)
        return policy, mixed_in


def _part(distributions: Distributions, tokens: slice) -> Distributions:
    """Distributions at some of the targets."""
    if isinstance(distributions, AllLogps):
        return AllLogps(distributions.logps[tokens])
    return replace(distributions, hidden=distributions.hidden[tokens])


def _logits(distributions: Distributions, tokens: slice) -> Tensor:
    """Logits at some of the targets. Shape: (target of the stretch, vocabulary)."""
    part = _part(distributions, tokens)
    return part.logits() if isinstance(part, AllLogps) else part.logits().computed()


def _joined(parts: Sequence[TokenValues]) -> TokenValues:
    """The values of all stretches, in order."""

    def joined(values: Sequence[Tensor | None]) -> Tensor | None:
        present = [value for value in values if value is not None]
        return torch.cat(present) if present else None

    return TokenValues(
        logps=torch.cat([part.logps for part in parts]),
        entropy=joined([part.entropy for part in parts]),
        log_collision=joined([part.log_collision for part in parts]),
        kl=joined([part.kl for part in parts]),
    )
