"""Log-probs of targets under a linear head, without the logits.

The (token, vocabulary) logits of a step are its largest tensor by far. Here they exist tile by tile: forward keeps a
running logsumexp per token, backward computes each tile again.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from preftune.policy.logit_tiles import DEFAULT_TILES, LogitRule, TiledLogits, Tiles, stretches

__all__ = ["linear_logp", "logp_of_logits", "plain_linear_logp"]


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
        tiles: How the logits are cut up.
    Returns:
        At most 0, in float32 or float64. Shape: (target,). Unit: nats.
    Differs: the target's own logit is a float32 dot product also under bfloat16, because its rounding error would go
        into the result whole; that of the others averages out.

    >>> hidden, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> linear_logp(hidden, weight, torch.tensor([1]))  # logits 1, 2, 3: 2 - ln(e + e^2 + e^3)
    tensor([-1.4076])
    """
    if not torch.is_grad_enabled():
        tiles = Tiles(tiles.tokens, tiles.vocabulary, keep_bytes=0)
    device = hidden.device.type
    product_dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    rule = LogitRule(scale, softcap, product_dtype, torch.promote_types(hidden.dtype, torch.float32), tiles)
    logps: Tensor = _LinearLogp.apply(hidden, weight, bias, targets, rule)  # type: ignore[no-untyped-call]
    return logps


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
    logits = torch.nn.functional.linear(hidden, weight, bias) * scale
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    return logp_of_logits(logits, targets)


def logp_of_logits(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-prob of each target, in float32 or better. Shape: (target, vocabulary), (target,) -> (target,).

    >>> logp_of_logits(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([1]))
    tensor([-1.4076])
    """
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return wide.log_softmax(-1).gather(1, targets[:, None])[:, 0]


class _LinearLogp(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, rule: LogitRule
    ) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            target_logits = _target_logits(hidden, weight, bias, targets, rule)
            logits = TiledLogits(hidden.to(rule.product_dtype), weight, bias, targets, target_logits, rule)
            logits.keep_bytes = rule.tiles.keep_bytes
            normalizers = _normalizers(logits)
        ctx.save_for_backward(hidden, weight, bias, targets, target_logits, normalizers)
        ctx.kept, ctx.rule = logits.kept, rule
        return (target_logits - normalizers).clamp_max_(0.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, target_logits, normalizers = ctx.saved_tensors
        rule: LogitRule = ctx.rule
        wants = _Wants(*ctx.needs_input_grad[:3])
        with torch.autocast(hidden.device.type, enabled=False):
            logits = TiledLogits(hidden.to(rule.product_dtype), weight, bias, targets, target_logits, rule)
            logits.kept, ctx.kept = ctx.kept, {}
            return (*_gradients(logits, grad, normalizers, hidden.dtype, wants), None, None)


def _target_logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, rule: LogitRule) -> Tensor:
    """Logit of each target. Shape: (target,)."""
    logits = hidden.new_empty(len(hidden), dtype=rule.wide_dtype)
    for tokens in stretches(len(hidden), rule.tiles.tokens):
        # Rounded like the operands of the other products, so that this is the same logit without their rounding.
        rows = weight[targets[tokens]].to(rule.product_dtype).to(rule.wide_dtype)
        logits[tokens] = (hidden[tokens].to(rule.product_dtype).to(rule.wide_dtype) * rows).sum(-1)
    return rule.apply_(logits, None if bias is None else bias[targets])


def _normalizers(logits: TiledLogits) -> Tensor:
    """Logsumexp over the vocabulary. Shape: (target,)."""
    largest = torch.full_like(logits.target_logits, -torch.inf)
    total = torch.zeros_like(largest)
    for vocabulary, weight in logits.vocabulary_tiles():
        for tokens, tile, _ in logits.token_tiles(vocabulary, weight):
            larger = torch.maximum(largest[tokens], tile.amax(-1))
            total[tokens] *= (largest[tokens] - larger).exp_()
            total[tokens] += tile.sub_(larger[:, None]).exp_().sum(-1)
            largest[tokens] = larger
    return total.log_().add_(largest)


@dataclass(frozen=True, slots=True)
class _Wants:
    """Which gradients are asked for."""

    hidden: bool
    weight: bool
    bias: bool


def _gradients(
    logits: TiledLogits, grad: Tensor, normalizers: Tensor, hidden_dtype: torch.dtype, wants: _Wants
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients by hidden, weight and bias. That of the logits is grad * (1 at the target - softmax)."""
    rule, wide, bias = logits.rule, logits.rule.wide_dtype, logits.bias
    grad_hidden = torch.zeros_like(logits.hidden, dtype=wide) if wants.hidden else None
    grad_weight = torch.zeros_like(logits.weight) if wants.weight else None
    grad_bias = torch.zeros_like(bias) if wants.bias and bias is not None else None
    for vocabulary, weight in logits.vocabulary_tiles():
        tile_grad_weight = torch.zeros_like(weight, dtype=wide) if wants.weight else None
        for tokens, tile, places in logits.token_tiles(vocabulary, weight):
            slope = rule.capped_slope(tile)
            tile.sub_(normalizers[tokens, None]).exp_().mul_(-grad[tokens, None])
            tile[places[0], places[1]] += grad[tokens][places[0]]
            rule.back_(tile, slope)
            if grad_bias is not None:
                grad_bias[vocabulary] += tile.sum(0).to(grad_bias.dtype)
            factor = tile.to(rule.product_dtype)
            if grad_hidden is not None:
                _add_product(grad_hidden[tokens], factor, weight)
            if tile_grad_weight is not None:
                _add_product(tile_grad_weight, factor.t(), logits.hidden[tokens])
        if grad_weight is not None and tile_grad_weight is not None:
            grad_weight[vocabulary] = tile_grad_weight.to(grad_weight.dtype)
    return None if grad_hidden is None else grad_hidden.to(hidden_dtype), grad_weight, grad_bias


def _add_product(target: Tensor, left: Tensor, right: Tensor) -> None:
    """target += left @ right, where the target may be wider than the factors."""
    if target.dtype == left.dtype:
        target.addmm_(left, right)
    else:
        target += left @ right
