"""The logits of a linear head, as tiles over tokens and vocabulary."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["DEFAULT_TILES", "LogitRule", "TiledLogits", "Tiles", "product_dtype", "stretches"]


@dataclass(frozen=True, slots=True)
class Tiles:
    """How the logits are cut up.

    Args:
        tokens: Tokens per tile.
        vocabulary: Vocabulary entries per tile.
        keep_bytes: Logits of this many bytes are kept for backward instead of being computed again.
    """

    tokens: int = 1024
    vocabulary: int = 2048
    keep_bytes: int = 0


DEFAULT_TILES = Tiles()


def product_dtype(hidden: Tensor) -> torch.dtype:
    """Dtype of matrix products: that of autocast where it is on, else that of the hidden states."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


@dataclass(frozen=True, slots=True)
class LogitRule:
    """What turns dot products into logits, and in which dtypes."""

    scale: float
    softcap: float | None
    product_dtype: torch.dtype
    wide_dtype: torch.dtype
    tiles: Tiles

    def apply_(self, products: Tensor, bias: Tensor | None) -> Tensor:
        """Dot products to logits, in place. Shape: (..., vocabulary)."""
        if bias is not None:
            products += bias.to(self.wide_dtype)
        if self.scale != 1.0:
            products *= self.scale
        if self.softcap is not None:
            products.div_(self.softcap).tanh_().mul_(self.softcap)
        return products

    def back_(self, grad_logits: Tensor, capped_slope: Tensor | None) -> Tensor:
        """Gradient by the logits to gradient by the dot products, in place."""
        if capped_slope is not None:
            grad_logits *= capped_slope
        if self.scale != 1.0:
            grad_logits *= self.scale
        return grad_logits

    def capped_slope(self, logits: Tensor) -> Tensor | None:
        """Derivative of the soft-cap at these logits, 1 - (logits / softcap)^2."""
        return None if self.softcap is None else logits.div(self.softcap).square_().neg_().add_(1.0)


@dataclass(slots=True)
class TiledLogits:
    """The logits as tiles, computed into one buffer that the tiles take turns in."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None
    rule: LogitRule
    keep_bytes: int = 0
    kept: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    _products: Tensor | None = None
    _wide: Tensor | None = None

    def columns(self, vocabulary: slice) -> Tensor:
        """Weights of a stretch of the vocabulary in the products' dtype."""
        return self.weight[vocabulary].to(self.rule.product_dtype)

    def tiles(self, vocabulary: slice, columns: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Stretches of tokens with their logits, which the caller may overwrite. Valid for one turn."""
        bias = None if self.bias is None else self.bias[vocabulary]
        for tokens in stretches(len(self.hidden), self.rule.tiles.tokens):
            yield tokens, self.rule.apply_(self._tile(tokens, vocabulary, columns), bias)

    def _tile(self, tokens: slice, vocabulary: slice, weight: Tensor) -> Tensor:
        """Dot products in the wide dtype, which the caller may overwrite."""
        hidden, key = self.hidden[tokens], (tokens.start, vocabulary.start)
        products = self.kept.pop(key, None)
        if products is None:
            num_bytes = len(hidden) * len(weight) * hidden.element_size()
            keep = num_bytes <= self.keep_bytes
            self._products = _room(None if keep else self._products, hidden, weight, hidden.dtype)
            products = torch.mm(hidden, weight.t(), out=self._products)
            if keep:
                self.keep_bytes -= num_bytes
                self.kept[key], self._products = products, None
            elif products.dtype == self.rule.wide_dtype:
                return products
        self._wide = _room(self._wide, hidden, weight, self.rule.wide_dtype)
        return self._wide.copy_(products)


def _room(buffer: Tensor | None, hidden: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A (token, vocabulary) tensor for a tile, the one at hand if it fits."""
    shape = (len(hidden), len(weight))
    return buffer if buffer is not None and buffer.shape == shape else hidden.new_empty(shape, dtype=dtype)


def stretches(length: int, step: int) -> Iterator[slice]:
    """Slices of at most `step` that cover a length."""
    return (slice(start, min(start + step, length)) for start in range(0, length, step))
