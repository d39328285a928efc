"""Log-probs of targets under a linear head, without the logits.

The (token, vocabulary) logits of a step are its largest tensor by far. Here they exist tile by tile: forward keeps a
running logsumexp per token, backward computes each tile again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

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
from preftune.model.forward.head.token_values import TokenExtra, TokenValues
from preftune.model.forward.kernels.kernels import LogpKernel, LogpTask


def linear_logp(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    scale: float = 1.0,
    softcap: float | None = None,
    tiles: Tiles = DEFAULT_TILES,
) -> Tensor:
    """Log-prob of each target under softmax(logits), differentiable by hidden, weight and bias.

    logits = scale * (hidden @ weight.T + bias), then softcap * tanh(logits / softcap) if there is a softcap
    logp   = logits[target] - logsumexp(logits)

    Matrix products run in the dtype of autocast where that is on, else in that of `hidden`; all else in float32, or
    float64 for float64 inputs.

    Args:
        hidden: Shape: (target, width).
        weight: Shape: (vocabulary, width).
        targets: Token ids. Shape: (target,).
        bias: Shape: (vocabulary,).
        scale: Factor on the logits.
        softcap: Bound on the logits, > 0; None for no bound.
        tiles: Size of the tiles.
    Returns:
        At most 0, in float32 or float64. Shape: (target,). Unit: nats.
    Differs: the logit of the target is a float32 dot product also under bfloat16. Its rounding error would enter the
        result in full, while those of the others average out.

    >>> hidden, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> linear_logp(hidden, weight, torch.tensor([1]))  # logits 1, 2, 3: 2 - ln(e + e^2 + e^3)
    tensor([-1.4076])
    """
    logits = LinearLogits(hidden, weight, bias, scale, softcap)
    return linear_token_values(logits, targets, tiles=tiles).logps


def linear_token_values(
    logits: LinearLogits,
    targets: Tensor,
    *,
    extras: frozenset[TokenExtra] = frozenset(),
    tiles: Tiles = DEFAULT_TILES,
    kernel: LogpKernel | None = None,
) -> TokenValues:
    """Log-prob of each target as `linear_logp` gives it, and the requested extras, from the same tiles.

    Args:
        logits: The logits, not computed yet.
        targets: Token ids. Shape: (target,).
        extras: Values to compute beside the log-probs.
        tiles: Size of the tiles.
        kernel: Used instead of the tiles where supported; None for tiles everywhere.
    Returns:
        The values, but for the KL.

    >>> logits = LinearLogits(torch.ones(1, 3), torch.zeros(4, 3))  # Four tokens of probability 1/4
    >>> values = linear_token_values(logits, torch.tensor([1]), extras=frozenset({"entropy", "log_collision"}))
    >>> values.logps, values.entropy, values.log_collision  # ln(1/4), ln(4), ln(4 * 1/16)
    (tensor([-1.3863]), tensor([1.3863]), tensor([-1.3863]))
    """
    if kernel is not None and kernel.misfit(LogpTask.of(logits, has_extras=bool(extras))) is None:
        return TokenValues(kernel.logps(logits, targets))
    hidden = logits.hidden
    if not torch.is_grad_enabled():
        tiles = Tiles(tiles.tokens, tiles.vocabulary, keep_bytes=0)
    wide = torch.promote_types(hidden.dtype, torch.float32)
    rule = LogitRule(logits.scale, logits.softcap, product_dtype(hidden), wide, tiles)
    return TokenValues(
        *_LinearLogp.apply(hidden, logits.weight, logits.bias, targets, rule, extras)  # type: ignore[no-untyped-call]
    )


def plain_linear_logp(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    scale: float = 1.0,
    softcap: float | None = None,
) -> Tensor:
    """The twin of `linear_logp` that computes all logits at once."""
    return logp_of_logits(LinearLogits(hidden, weight, bias, scale, softcap).computed(), targets)


def logp_of_logits(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-prob of each target, in float32 or better. Shape: (target, vocabulary), (target,) -> (target,).

    >>> logp_of_logits(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([1]))
    tensor([-1.4076])
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return wide.log_softmax(-1).gather(1, targets[:, None])[:, 0]


@final
@dataclass(frozen=True, slots=True, eq=False)
class ExtraSums:
    """Sums over the vocabulary for entropy and collision, beside those of `LogitSums`.

    With weights w = exp(logit - largest) of sum Z, so that p = w / Z:

    entropy       = log Z - (sum of (logit - largest) * w) / Z, as log p = (logit - largest) - log Z
    log_collision = log (sum of w^2) - 2 * log Z

    When a tile changes the largest logit by c = former - new <= 0, every former w shrinks by exp(c) and every former
    (logit - largest) changes by c, so the former sums become

    Z                               -> exp(c) * Z
    sum of (logit - largest) * w    -> exp(c) * (that sum + c * Z), with Z from before the tile
    sum of w^2                      -> exp(2 * c) * that sum

    Args:
        sums: Largest logit and Z, changed in place by `add_`.
        weighted: Sum of (logit - largest) * w, or None if not requested. Shape: (target,).
        squared: Sum of w^2, or None if not requested. Shape: (target,).
    """

    sums: LogitSums
    weighted: Tensor | None
    squared: Tensor | None

    @classmethod
    def of_nothing(cls, sums: LogitSums, extras: frozenset[TokenExtra]) -> "ExtraSums":
        """The sums before the first tile."""
        return cls(
            sums,
            weighted=torch.zeros_like(sums.total) if "entropy" in extras else None,
            squared=torch.zeros_like(sums.total) if "log_collision" in extras else None,
        )

    def add_(self, tokens: slice, tile: Tensor) -> None:
        """Take in the logits of some tokens on a stretch of the vocabulary, which are overwritten."""
        logits = None if self.weighted is None else tile.clone()
        former_total = self.sums.total[tokens].clone()
        change = self.sums.add_(tokens, tile)
        shrink, lowest = change.exp(), torch.finfo(tile.dtype).min
        if self.weighted is not None and logits is not None:
            # The clamps keep what has weight 0 from being infinite: 0 * inf is NaN.
            former = self.weighted[tokens] + former_total * change.clamp_min(lowest)
            below = logits.sub_(self.sums.largest[tokens, None]).clamp_min_(lowest)
            self.weighted[tokens] = former.mul_(shrink) + below.mul_(tile).sum(-1)
        if self.squared is not None:
            self.squared[tokens] *= shrink.square_()
            self.squared[tokens] += tile.square_().sum(-1)

    def entropy(self) -> Tensor | None:
        """Entropy over all tiles. Shape: (target,)."""
        return None if self.weighted is None else self.sums.total.log() - self.weighted / self.sums.total

    def log_collision(self) -> Tensor | None:
        """Log-prob that two draws are the same token, over all tiles. Shape: (target,)."""
        return None if self.squared is None else self.squared.log() - 2 * self.sums.total.log()


# Derivation, for one token with hidden state h, target t and, for each vocabulary entry v,
#
#     x_v     = h . weight_v
#     logit_v = softcap * tanh(scale * (x_v + bias_v) / softcap), or scale * (x_v + bias_v)
#
# Forward keeps m, the largest logit so far, and Z = sum over v of exp(logit_v - m). When a tile raises m to m', all
# former terms shrink by exp(m - m'): Z' = Z * exp(m - m') + sum over the tile of exp(logit_v - m'). At the end,
#
#     normalizer = m + log Z = logsumexp(logits)
#     logp       = logit_t - normalizer
#
# No tile is saved beyond `Tiles.keep_bytes`. Backward computes the logits again and gets the probabilities
# p(v) = exp(logit_v - normalizer) from the saved normalizer, without a second pass for the sum. As
# d normalizer / d logit_v = p(v),
#
#     d logp / d logit_v = [v = t] - p(v)
#
# and with `grad` = d loss / d logp, the gradient by the dot product (`LogitRule.back_`) is
#
#     G_v = d loss / d x_v = grad * ([v = t] - p(v)) * scale * (1 - (logit_v / softcap)^2)
#
# without the last factor if there is no soft-cap. `linear_gradients` adds up the tiles:
#
#     d loss / d h        = sum over v of G_v * weight_v
#     d loss / d weight_v = sum over tokens of G_v * h
#     d loss / d bias_v   = sum over tokens of G_v
#
# The target's own logit is more exact than the tile's. It replaces the tile's in both passes, so that normalizer, p(t)
# and the slope of the soft-cap belong to the same logit.
class _LinearLogp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        rule: LogitRule,
        extras: frozenset[TokenExtra],
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        with torch.autocast(hidden.device.type, enabled=False):
            exact = _TargetLogits(targets, _target_logits(hidden, weight, bias, targets, rule))
            logits = TiledLogits(hidden.to(rule.product_dtype), weight, bias, rule, rule.tiles.keep_bytes)
            sums = LogitSums.of_nothing(len(hidden), dtype=rule.wide_dtype, device=hidden.device)
            extra_sums = ExtraSums.of_nothing(sums, extras) if extras else None
            _add_up(logits, exact, sums if extra_sums is None else extra_sums)
            normalizers = sums.normalizers()
        entropy, log_collision = (extra_sums.entropy(), extra_sums.log_collision()) if extra_sums else (None, None)
        ctx.save_for_backward(hidden, weight, bias, targets, exact.logits, normalizers)
        ctx.kept, ctx.rule = logits.kept, rule
        ctx.mark_non_differentiable(*(extra for extra in (entropy, log_collision) if extra is not None))
        return (exact.logits - normalizers).clamp_max_(0.0), entropy, log_collision

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, target_logits, normalizers = ctx.saved_tensors
        rule: LogitRule = ctx.rule
        exact = _TargetLogits(targets, target_logits)
        with torch.autocast(hidden.device.type, enabled=False):
            logits = TiledLogits(hidden.to(rule.product_dtype), weight, bias, rule)
            logits.kept, ctx.kept = ctx.kept, {}

            def gradient_tiles(vocabulary: slice, columns: Tensor) -> Iterator[tuple[slice, Tensor]]:
                """That of the logits is grad * (1 at the target - softmax)."""
                for tokens, tile in logits.tiles(vocabulary, columns):
                    columns_of_targets, is_inside = exact.put_into(tile, tokens, vocabulary)
                    slope = rule.capped_slope(tile)
                    tile.sub_(normalizers[tokens, None]).exp_().mul_(-grad[tokens, None])
                    tile.scatter_add_(1, columns_of_targets, torch.where(is_inside, grad[tokens], 0.0)[:, None])
                    yield tokens, rule.back_(tile, slope)

            wants = Wants(*ctx.needs_input_grad[:3])
            return (*linear_gradients(logits, gradient_tiles, hidden.dtype, wants), None, None, None)


@dataclass(frozen=True, slots=True, eq=False)
class _TargetLogits:
    """The targets' own logits, more exact than those of the tiles. Shape: (target,)."""

    targets: Tensor
    logits: Tensor

    def put_into(self, tile: Tensor, tokens: slice, vocabulary: slice) -> tuple[Tensor, Tensor]:
        """Put those that belong into a tile there, without a look at values: a GPU would have to be waited for.

        Returns:
            Column of each target in the tile, any column for targets elsewhere. Shape: (target, 1).
            True for targets inside the tile. Shape: (target,).
        """
        columns = self.targets[tokens] - vocabulary.start
        is_inside = (columns >= 0) & (columns < tile.shape[1])
        columns = columns.clamp(0, tile.shape[1] - 1)[:, None]
        tile.scatter_(1, columns, torch.where(is_inside[:, None], self.logits[tokens, None], tile.gather(1, columns)))
        return columns, is_inside


def _target_logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, rule: LogitRule) -> Tensor:
    """Logit of each target. Shape: (target,)."""
    logits = hidden.new_empty(len(hidden), dtype=rule.wide_dtype)
    for tokens in stretches(len(hidden), rule.tiles.tokens):
        # Rounded like the operands of the other products, so that this is the same logit without their rounding.
        rows = weight[targets[tokens]].to(rule.product_dtype).to(rule.wide_dtype)
        logits[tokens] = (hidden[tokens].to(rule.product_dtype).to(rule.wide_dtype) * rows).sum(-1)
    return rule.apply_(logits, None if bias is None else bias[targets])


def _add_up(logits: TiledLogits, exact: _TargetLogits, sums: LogitSums | ExtraSums) -> None:
    """Take all tiles into the sums."""
    for vocabulary in stretches(len(logits.weight), logits.rule.tiles.vocabulary):
        for tokens, tile in logits.tiles(vocabulary, logits.columns(vocabulary)):
            exact.put_into(tile, tokens, vocabulary)
            sums.add_(tokens, tile)
