"""KL from a reference to a policy under linear heads, without the logits of either.

Like `linear_logp`: the logits of both exist tile by tile, and backward computes each tile again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from preftune.model.forward.head.tiles import (
    DEFAULT_TILES,
    LinearLogits,
    LogitRule,
    LogitSums,
    TiledLogits,
    Tiles,
    Wants,
    linear_gradients,
    product_dtype,
    stretches,
)


def linear_kl(policy: LinearLogits, reference: LinearLogits | Tensor, *, tiles: Tiles = DEFAULT_TILES) -> Tensor:
    """KL(reference || policy) of each token's distributions, differentiable by hidden, weight and bias of the policy.

    With p = softmax(policy logits) and r = softmax(reference logits):

    kl                   = sum over v of r(v) * (log r(v) - log p(v))
    d kl / policy logits = p - r

    Matrix products of the policy run in the dtype of autocast where that is on, else in that of its hidden states;
    those of the reference in that of its hidden states. All else is in float32, or float64 if either is.

    Args:
        policy: Its logits, not computed yet. Shape of the logits: (target, vocabulary).
        reference: Its logits, computed or not, normalized or not. Shape of the logits:
            (target, vocabulary).
        tiles: Size of the tiles; none are kept.
    Returns:
        At least 0 up to rounding, in float32 or float64. Shape: (target,). Unit: nats.
    Differs: unlike in `linear_logp`, the logits of the targets are rounded like all others. Both sums of a distribution
        hold the same rounded logits, so the rounding error of the result is of second order, and the KL of a model with
        itself is 0 with gradient 0.

    >>> hidden, weight = torch.tensor([[1.0]]), torch.tensor([[0.0], [1.0986]])  # Logits 0 and ln 3: 1/4, 3/4
    >>> linear_kl(LinearLogits(hidden, weight), torch.zeros(1, 2))  # (ln(1/2) - ln(1/4) + ln(1/2) - ln(3/4)) / 2
    tensor([0.1438])
    """
    given = reference.hidden if isinstance(reference, LinearLogits) else reference
    assert len(given) == len(policy.hidden), f"reference of {len(given)} targets, policy of {len(policy.hidden)}"
    wide = torch.promote_types(torch.promote_types(policy.hidden.dtype, given.dtype), torch.float32)
    rule = LogitRule(policy.scale, policy.softcap, product_dtype(policy.hidden), wide, tiles)
    kl: Tensor = _LinearKl.apply(policy.hidden, policy.weight, policy.bias, rule, _detached(reference))  # type: ignore[no-untyped-call]
    return kl


def plain_linear_kl(policy: LinearLogits, reference: LinearLogits | Tensor) -> Tensor:
    """The twin of `linear_kl` that computes all logits at once."""
    logits = reference.computed() if isinstance(reference, LinearLogits) else reference
    return kl_of_logits(policy.computed(), logits)


def kl_of_logits(policy: Tensor, reference: Tensor) -> Tensor:
    """KL(reference || policy) of each token's distributions, in float32 or better, differentiable by the policy.

    Args:
        policy, reference: Logits, normalized or not. Shape: (target, vocabulary).
    Returns:
        At least 0 up to rounding. Shape: (target,). Unit: nats.

    >>> kl_of_logits(torch.tensor([[0.0, 1.0986]]), torch.zeros(1, 2))
    tensor([0.1438])
    """
    wide = torch.promote_types(torch.promote_types(policy.dtype, reference.dtype), torch.float32)
    logps = reference.detach().to(wide).log_softmax(-1)
    terms = logps.exp() * (logps - policy.to(wide).log_softmax(-1))
    # Where the reference is 0, its log may be -inf, and 0 * inf is NaN.
    return terms.where(logps > torch.finfo(wide).min, 0.0).sum(-1)


# Derivation, for one token with policy logits l_v and reference logits a_v, normalizers N_p = logsumexp(l) and
# N_r = logsumexp(a), p(v) = exp(l_v - N_p) and r(v) = exp(a_v - N_r):
#
#     kl = sum over v of r(v) * ((a_v - N_r) - (l_v - N_p)) = sum over v of r(v) * (a_v - l_v) - N_r + N_p
#
# because r sums to 1. With m the largest a_v so far and Z = sum over v of exp(a_v - m), the first term is D / Z for
# D = sum over v of exp(a_v - m) * (a_v - l_v). When a tile raises m to m', D and Z shrink by exp(m - m'), as in
# `LogitSums`. So one pass over the tiles of both models gives D, Z, N_r and N_p, and with them the KL.
#
# Of the policy's logits, only -r(v) * l_v and N_p depend on l_v, so d kl / d l_v = p(v) - r(v). Backward computes both
# tiles again and takes p and r from the saved normalizers; from there on it is the backward of `linear_logp`.
class _LinearKl(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        rule: LogitRule,
        reference: LinearLogits | Tensor,
    ) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            logits = TiledLogits(hidden.to(rule.product_dtype), weight, bias, rule)
            sums = _Sums.of_nothing(len(hidden), dtype=rule.wide_dtype, device=hidden.device)
            sums.add_all_(logits, _reference_tiles(reference, rule))
            policy_normalizers, reference_normalizers = sums.policy.normalizers(), sums.reference.normalizers()
        # The reference's tensors are saved so that a change of them before backward is found out.
        saved = (hidden, weight, bias, policy_normalizers, reference_normalizers, *_tensors(reference))
        ctx.save_for_backward(*saved)
        ctx.rule, ctx.reference = rule, reference
        return sums.difference.div_(sums.reference.total).sub_(reference_normalizers).add_(policy_normalizers)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, policy_normalizers, reference_normalizers, *_ = ctx.saved_tensors
        rule: LogitRule = ctx.rule
        with torch.autocast(hidden.device.type, enabled=False):
            logits = TiledLogits(hidden.to(rule.product_dtype), weight, bias, rule)
            reference = _reference_tiles(ctx.reference, rule)

            def gradient_tiles(vocabulary: slice, columns: Tensor) -> Iterator[tuple[slice, Tensor]]:
                """That of the logits is grad * (p - r)."""
                for tokens, tile, reference_tile in _pairs(logits, reference, vocabulary, columns):
                    slope = rule.capped_slope(tile)
                    tile.sub_(policy_normalizers[tokens, None]).exp_()
                    tile.sub_(reference_tile.sub_(reference_normalizers[tokens, None]).exp_()).mul_(grad[tokens, None])
                    yield tokens, rule.back_(tile, slope)

            wants = Wants(*ctx.needs_input_grad[:3])
            return (*linear_gradients(logits, gradient_tiles, hidden.dtype, wants), None, None)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Sums over the vocabulary, changed in place.

    Args:
        policy, reference: Sums of the logits of policy and reference.
        difference: Sum of exp(reference logit - its largest) * (reference logit - policy logit). Shape: (target,).
    """

    policy: LogitSums
    reference: LogitSums
    difference: Tensor

    @classmethod
    def of_nothing(cls, num_targets: int, *, dtype: torch.dtype, device: torch.device) -> "_Sums":
        policy, reference = (LogitSums.of_nothing(num_targets, dtype=dtype, device=device) for _ in range(2))
        return cls(policy, reference, torch.zeros_like(reference.total))

    def add_all_(self, logits: TiledLogits, reference: "_Tiles") -> None:
        """Take in all tiles."""
        for vocabulary in stretches(len(logits.weight), logits.rule.tiles.vocabulary):
            for tokens, tile, reference_tile in _pairs(logits, reference, vocabulary, logits.columns(vocabulary)):
                difference = reference_tile - tile
                self.policy.add_(tokens, tile)
                change = self.reference.add_(tokens, reference_tile)
                self.difference[tokens] *= change.exp_()
                self.difference[tokens] += difference.mul_(reference_tile).sum(-1)


class _Tiles(Protocol):
    """Logits tile by tile."""

    def columns(self, vocabulary: slice) -> Tensor:
        """Factors of the logits that belong to a stretch of the vocabulary."""

    def tiles(self, vocabulary: slice, columns: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Stretches of tokens with their logits, which the caller may overwrite. Valid for one turn."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class _GivenTiles:
    """Logits that are computed already. Shape: (target, vocabulary)."""

    logits: Tensor
    rule: LogitRule

    def columns(self, vocabulary: slice) -> Tensor:
        return self.logits[:, vocabulary]

    def tiles(self, vocabulary: slice, columns: Tensor) -> Iterator[tuple[slice, Tensor]]:  # noqa: ARG002
        for tokens in stretches(len(columns), self.rule.tiles.tokens):
            logits = columns[tokens].to(self.rule.wide_dtype, copy=True)
            # Log-probs of what cannot be are -inf, and the terms of the sum would be NaN.
            yield tokens, logits.clamp_min_(torch.finfo(logits.dtype).min)


def _reference_tiles(reference: LinearLogits | Tensor, rule: LogitRule) -> _Tiles:
    """The reference's logits, cut up like those of the policy."""
    if isinstance(reference, Tensor):
        return _GivenTiles(reference, rule)
    own = LogitRule(reference.scale, reference.softcap, reference.hidden.dtype, rule.wide_dtype, rule.tiles)
    return TiledLogits(reference.hidden, reference.weight, reference.bias, own)


def _pairs(
    logits: TiledLogits, reference: _Tiles, vocabulary: slice, columns: Tensor
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Stretches of tokens with the logits of policy and reference."""
    of_policy, of_reference = (
        logits.tiles(vocabulary, columns),
        reference.tiles(vocabulary, reference.columns(vocabulary)),
    )
    for (tokens, tile), (_, reference_tile) in zip(of_policy, of_reference, strict=True):
        yield tokens, tile, reference_tile


def _detached(reference: LinearLogits | Tensor) -> LinearLogits | Tensor:
    if isinstance(reference, Tensor):
        return reference.detach()
    bias = None if reference.bias is None else reference.bias.detach()
    return replace(reference, hidden=reference.hidden.detach(), weight=reference.weight.detach(), bias=bias)


def _tensors(reference: LinearLogits | Tensor) -> tuple[Tensor | None, ...]:
    return (reference,) if isinstance(reference, Tensor) else (reference.hidden, reference.weight, reference.bias)
