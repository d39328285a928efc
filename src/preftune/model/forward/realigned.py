"""Log-probs of a policy mixed with its reference, token by token: realignment without training."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, final

import torch
from torch import Tensor, nn

from preftune.errors import ModelError
from preftune.model.forward.forward import Forward
from preftune.model.forward.head.head import Head
from preftune.model.forward.head.linear_kl import linear_kl
from preftune.model.forward.head.linear_logp import linear_token_values
from preftune.model.forward.head.tiles import DEFAULT_TILES, Tiles, stretches
from preftune.model.forward.head.token_values import (
    AllLogps,
    Distributions,
    HeadStates,
    TokenExtra,
    TokenValues,
    check_same_tokens,
    values_of_logits,
)
from preftune.model.forward.packed_batch import PackedBatch
from preftune.planning import Layout

__all__ = ["HasDistributions", "RealignedForward", "check_mixable", "mixed_logits"]


class HasDistributions(Protocol):
    """A reference, as far as the mix needs it; see `preftune.model.reference.Reference`."""

    def distributions(self, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Distributions | None:
        """The next-token distributions at all predictors; None where there is no reference."""


def mixed_logits(policy: Tensor, reference: Tensor, strength: float) -> Tensor:
    """Logits of the realigned policy.

    mix = (1 - strength) * reference + strength * policy

    0 is the reference and 1 the policy, to the bit. A token to which either gives probability 0 has none in between
    and beyond.

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
    excluded = torch.isneginf(policy) | torch.isneginf(reference)  # 0 * inf is no number.
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

    Where both heads are linear, so is the mix: one head on [strength * policy states, (1 - strength) * reference
    states], and logits never exist in full. Under a soft-cap they exist for some tokens at a time; models with heads
    that are not known here give theirs whole.

    The two heads' weights are put side by side once and kept, for as long as this object: they must not change
    meanwhile. A head that both share (an adapter that leaves it alone, switched off) is used as it is.

    Args:
        inner: How either model is run.
        reference: What is mixed in.
        strength: 0: the reference, 1: the policy, more: beyond.
        tiles: How the logits are cut up.
    Source: Liu et al. 2024, arXiv:2402.02992, Section 3.
    """

    inner: Forward
    reference: HasDistributions
    strength: float
    tiles: Tiles = DEFAULT_TILES
    _joined: dict[tuple[nn.Linear, nn.Linear, torch.dtype], Head] = field(init=False, default_factory=dict)

    @property
    def layout(self) -> Layout:
        """See `Forward.layout`."""
        return self.inner.layout

    def token_logps(self, model: nn.Module, batch: PackedBatch) -> Tensor:
        """See `Forward.token_logps`.

        Raises:
            ModelError: as of `token_values`.
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
        """See `Forward.token_values`; `model` is the policy, and `reference` what the KL is taken to.

        Raises:
            ModelError: the models do not give probabilities to the same tokens, or cannot be run.
            ValueError: the reference runs no model.
        """
        with torch.no_grad():
            held = self._held(model, batch)
            linear = self._as_linear(held)
            if linear is None:
                return self._in_stretches(held, batch.targets, extras, reference)
            logits = linear.logits()
            values = linear_token_values(logits, batch.targets, extras=extras, tiles=self.tiles)
            if reference is None:
                return values
            check_same_tokens(reference, linear.vocabulary_size)
            return replace(values, kl=linear_kl(logits, reference.logits(), tiles=self.tiles))

    def distributions(self, model: nn.Module, batch: PackedBatch) -> Distributions:
        """See `Forward.distributions`.

        Raises:
            ModelError: as of `token_values`.
        """
        with torch.no_grad():
            held = self._held(model, batch)
            linear = self._as_linear(held)
            return AllLogps.of_logits(self._logits(held, slice(None))) if linear is None else linear

    def _held(self, model: nn.Module, batch: PackedBatch) -> "_Held":
        """What both say, or the one that counts."""
        policy = self.inner.distributions(model, batch) if self.strength != 0 else None
        if self.strength == 1 and policy is not None:
            return _Held(policy, policy)
        reference = self.reference.distributions(self.inner, model, batch)
        if reference is None:
            raise ValueError("the reference gives no distributions. Give one that holds a model, such as FrozenCopy.")
        if policy is None:
            return _Held(reference, reference)
        check_mixable(policy.vocabulary_size, reference.vocabulary_size)
        return _Held(policy, reference)

    def _as_linear(self, held: "_Held") -> HeadStates | None:
        """The mix as hidden states and a linear head, or None where it is none."""
        policy, reference = held.policy, held.reference
        if not isinstance(policy, HeadStates) or not isinstance(reference, HeadStates):
            return None
        if policy is reference:
            return policy
        if policy.head.softcap is not None or reference.head.softcap is not None:
            return None
        of_policy, of_reference = self.strength, 1 - self.strength
        if policy.head.linear is reference.head.linear:
            return replace(policy, hidden=policy.hidden * of_policy + reference.hidden * of_reference)
        scales = of_policy * policy.head.scale, of_reference * reference.head.scale
        hidden = torch.cat([policy.hidden * scales[0], reference.hidden * scales[1]], dim=1)
        return HeadStates(hidden, self._joined_head(policy.head, reference.head, hidden.dtype), policy.vocabulary_size)

    def _joined_head(self, policy: Head, reference: Head, dtype: torch.dtype) -> Head:
        """A head on the states of both, side by side, which carry scales and strength."""
        key = (policy.linear, reference.linear, dtype)
        if key not in self._joined:
            weights = [head.linear.weight.detach().to(dtype) for head in (policy, reference)]
            biases: list[Tensor] = []
            for head, share in ((policy, self.strength), (reference, 1 - self.strength)):
                bias: Tensor | None = head.linear.bias
                biases += [] if bias is None else [bias.detach() * (head.scale * share)]
            joined = nn.Linear(1, 1, bias=bool(biases), device="meta")
            joined.weight = nn.Parameter(torch.cat(weights, dim=1), requires_grad=False)
            if biases:
                joined.bias = nn.Parameter(torch.stack(biases).sum(0), requires_grad=False)
            self._joined[key] = Head(joined, scale=1.0, softcap=None)
        return self._joined[key]

    def _in_stretches(
        self, held: "_Held", targets: Tensor, extras: frozenset[TokenExtra], reference: Distributions | None
    ) -> TokenValues:
        """Values of all targets, from the logits of some of them at a time."""
        return _joined_values(
            [
                values_of_logits(
                    self._logits(held, tokens),
                    targets[tokens],
                    extras=extras,
                    reference=None if reference is None else _part(reference, tokens),
                )
                for tokens in stretches(len(targets), self.tiles.tokens)
            ]
        )

    def _logits(self, held: "_Held", tokens: slice) -> Tensor:
        """Those of the mix. Shape: (target of the stretch, vocabulary)."""
        if held.policy is held.reference:
            return _logits_of(_part(held.policy, tokens))
        policy, reference = (_logits_of(_part(each, tokens)) for each in (held.policy, held.reference))
        return mixed_logits(policy, reference, self.strength)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """What policy and reference say of a batch; the same object twice where only one of them counts."""

    policy: Distributions
    reference: Distributions


def _part(held: Distributions, tokens: slice) -> Distributions:
    """Those of some of the targets."""
    if isinstance(held, AllLogps):
        return AllLogps(held.logps[tokens])
    return replace(held, hidden=held.hidden[tokens])


def _logits_of(held: Distributions) -> Tensor:
    return held.logits() if isinstance(held, AllLogps) else held.logits().computed()


def _joined_values(parts: Sequence[TokenValues]) -> TokenValues:
    """The values of all stretches, one after the other."""

    def joined(values: Sequence[Tensor | None]) -> Tensor | None:
        found = [value for value in values if value is not None]
        return torch.cat(found) if found else None

    return TokenValues(
        logps=torch.cat([part.logps for part in parts]),
        entropy=joined([part.entropy for part in parts]),
        log_collision=joined([part.log_collision for part in parts]),
        kl=joined([part.kl for part in parts]),
    )
