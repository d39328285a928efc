"""Logits of a linear head, tile by tile: the tiles, running sums over the vocabulary, and gradients."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True, slots=True, eq=False)
class LinearLogits:
    """Logits that are not computed yet: a hidden state per token takes far less memory than its logits.

    logits = scale * (hidden @ weight.T + bias), then softcap * tanh(logits / softcap) if there is a softcap

    Args:
        hidden: Shape: (target, width).
        weight: Shape: (vocabulary, width).
        bias: Shape: (vocabulary,).
        scale: Factor on the logits.
        softcap: Bound on the logits, > 0; None for no bound.
    """

    hidden: Tensor
    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    def computed(self) -> Tensor:
        """All logits at once. Shape: (target, vocabulary).

        >>> hidden, weight = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
        >>> LinearLogits(hidden, weight, scale=2.0).computed()
        tensor([[2., 6.]])
        """
        logits = torch.nn.functional.linear(self.hidden, self.weight, self.bias) * self.scale
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)


@dataclass(frozen=True, slots=True)
class Tiles:
    """Size of the tiles.

    Args:
        tokens: Tokens per tile.
        vocabulary: Vocabulary entries per tile.
        keep_bytes: Logits of this many bytes are kept for backward instead of being computed again.
    """

    tokens: int = 1024
    vocabulary: int = 2048
    keep_bytes: int = 0

    @staticmethod
    def on(device: torch.device, *, keep_bytes: int = 0) -> "Tiles":
        """Tiles for a device. A CPU wants them in its cache; a GPU wants few launches of much work."""
        return Tiles(4096, 16_384, keep_bytes) if device.type == "cuda" else Tiles(keep_bytes=keep_bytes)


DEFAULT_TILES = Tiles()


def product_dtype(hidden: Tensor) -> torch.dtype:
    """Dtype of matrix products: that of autocast where it is on, else that of the hidden states."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


@dataclass(frozen=True, slots=True)
class LogitRule:
    """Map from dot products to logits, and the dtypes of both."""

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
    """A (token, vocabulary) tensor for a tile, reusing `buffer` if its shape fits."""
    shape = (len(hidden), len(weight))
    return buffer if buffer is not None and buffer.shape == shape else hidden.new_empty(shape, dtype=dtype)


def stretches(length: int, step: int) -> Iterator[slice]:
    """Slices of at most `step` that cover a length."""
    return (slice(start, min(start + step, length)) for start in range(0, length, step))


@final
@dataclass(frozen=True, slots=True, eq=False)
class LogitSums:
    """The largest logit of each token, and the sum of exp(logit - largest), over the tiles so far.

    Args:
        largest, total: Changed in place. Shape: (target,).
    """

    largest: Tensor
    total: Tensor

    @classmethod
    def of_nothing(cls, num_targets: int, *, dtype: torch.dtype, device: torch.device) -> "LogitSums":
        """The sums before the first tile."""
        largest = torch.full((num_targets,), -torch.inf, dtype=dtype, device=device)
        return cls(largest, torch.zeros_like(largest))

    def add_(self, tokens: slice, tile: Tensor) -> Tensor:
        """Take in the logits of some tokens on a stretch of the vocabulary.

        Args:
            tokens: Whose logits.
            tile: The logits; become exp(logit - largest). Shape: (token of the tile, vocabulary of the tile).
        Returns:
            By how much the largest logits have grown, negated: sums of exp(logit - largest) are to be multiplied by
            its exponential. At most 0, -inf at first. Shape: (token of the tile,).
        """
        larger = torch.maximum(self.largest[tokens], tile.amax(-1))
        change = self.largest[tokens] - larger
        self.total[tokens] *= change.exp()
        self.total[tokens] += tile.sub_(larger[:, None]).exp_().sum(-1)
        self.largest[tokens] = larger
        return change

    def normalizers(self) -> Tensor:
        """Logsumexp over all tiles. Shape: (target,)."""
        return self.total.log().add_(self.largest)


GradientTiles = Callable[[slice, Tensor], Iterator[tuple[slice, Tensor]]]
"""From a stretch of the vocabulary and its weights to stretches of tokens with gradients by their dot products. A
gradient is valid for one turn. Shape: (token of the tile, vocabulary of the tile)."""


@dataclass(frozen=True, slots=True)
class Wants:
    """Requested gradients."""

    hidden: bool
    weight: bool
    bias: bool


def linear_gradients(
    logits: TiledLogits, gradient_tiles: GradientTiles, hidden_dtype: torch.dtype, wants: Wants
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients by hidden, weight and bias, summed up in the wide dtype over tiles.

    Args:
        logits: The logits that gradients flow into.
        gradient_tiles: Gives the gradient by the dot products, tile by tile.
        hidden_dtype: Dtype of the gradient by the hidden states.
        wants: Requested gradients; the others are None.
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
