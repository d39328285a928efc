"""From gradients by tiles of logits to gradients by what the logits are made of."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from preftune.model.forward.head.logit_tiles import TiledLogits, stretches

__all__ = ["GradientTiles", "Wants", "linear_gradients"]

GradientTiles = Callable[[slice, Tensor], Iterator[tuple[slice, Tensor]]]
"""From a stretch of the vocabulary and its weights to stretches of tokens with gradients by their dot products. A
gradient is valid for one turn. Shape: (token of the tile, vocabulary of the tile)."""


@dataclass(frozen=True, slots=True)
class Wants:
    """Which gradients are asked for."""

    hidden: bool
    weight: bool
    bias: bool


def linear_gradients(
    logits: TiledLogits, gradient_tiles: GradientTiles, hidden_dtype: torch.dtype, wants: Wants
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients by hidden, weight and bias, summed up in the wide dtype over tiles.

    Args:
        logits: What the dot products are made of.
        gradient_tiles: Gives the gradient by the dot products, tile by tile.
        hidden_dtype: Dtype of the gradient by the hidden states.
        wants: Which ones; the others are None.
    """
    rule, wide, bias = logits.rule, logits.rule.wide_dtype, logits.bias
    grad_hidden = torch.zeros_like(logits.hidden, dtype=wide) if wants.hidden else None
    grad_weight = torch.zeros_like(logits.weight) if wants.weight else None
    grad_bias = torch.zeros_like(bias) if wants.bias and bias is not None else None
    for vocabulary in stretches(len(logits.weight), rule.tiles.vocabulary):
        columns = logits.columns(vocabulary)
        tile_grad_weight = torch.zeros_like(columns, dtype=wide) if wants.weight else None
        for tokens, tile in gradient_tiles(vocabulary, columns):
            if grad_bias is not None:
                grad_bias[vocabulary] += tile.sum(0).to(grad_bias.dtype)
            factor = tile.to(rule.product_dtype)
            if grad_hidden is not None:
                _add_product(grad_hidden[tokens], factor, columns)
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
