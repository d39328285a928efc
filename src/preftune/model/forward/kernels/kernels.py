"""The seam for kernels that take the place of plain torch on some devices.

A kernel says itself what it cannot do. What it can do in principle may be wrong on the machine at hand, so that
`choose_kernels` tries it before the first step; what was not tried is not used.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from preftune.model.forward.attention.segments import SegmentKeys
from preftune.model.forward.head.tiles import LinearLogits, product_dtype

__all__ = ["PLAIN", "AttentionKernel", "AttentionLayer", "Kernels", "LogpKernel", "LogpTask"]


@dataclass(frozen=True, slots=True)
class AttentionLayer:
    """What an attention layer asks for, but for the numbers.

    Args:
        device: Where its tensors are.
        dtype: Of queries, keys and values.
        num_heads, num_key_heads: Heads of the queries, and of keys and values.
        width, value_width: Of a head of queries and keys, and of values.
        scaling: Factor on the dot products.
        window: A token sees this many positions, itself included; None for all.
        softcap: Bound on the scores; None for no bound.
        has_sinks: Whether it has attention sinks.
        dropout: Probability that an attention weight is left out.
    """

    device: torch.device
    dtype: torch.dtype
    num_heads: int
    num_key_heads: int
    width: int
    value_width: int
    scaling: float
    window: int | None = None
    softcap: float | None = None
    has_sinks: bool = False
    dropout: float = 0.0


class AttentionKernel(Protocol):
    """Shared-prompt attention for the layers that fit it."""

    @property
    def name(self) -> str:
        """What users are told."""

    def misfit(self, layer: AttentionLayer) -> str | None:
        """Why the layer is not for this kernel; None if it is."""

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, keys: SegmentKeys, *, scaling: float, window: int | None
    ) -> Tensor:
        """As `segment_attention`. Shape: (head, token, width)."""


@dataclass(frozen=True, slots=True)
class LogpTask:
    """What is asked of a kernel for log-probs, but for the numbers.

    Args:
        device: Where the tensors are.
        dtype: Of the matrix products.
        weight_dtype: Of the head's weights, which may be wider.
        num_targets, width, vocabulary_size: Shapes of hidden states (target, width) and weights (vocabulary, width).
        has_bias: Whether the head has a bias.
        scale: Factor on the logits.
        softcap: Bound on the logits; None for no bound.
        has_extras: Whether more than the log-probs is asked for.
    """

    device: torch.device
    dtype: torch.dtype
    weight_dtype: torch.dtype
    num_targets: int
    width: int
    vocabulary_size: int
    has_bias: bool = False
    scale: float = 1.0
    softcap: float | None = None
    has_extras: bool = False

    @classmethod
    def of(cls, logits: LinearLogits, *, has_extras: bool) -> "LogpTask":
        """Log-probs under these logits, in the dtype of autocast where that is on."""
        hidden, weight = logits.hidden, logits.weight
        return cls(
            hidden.device, product_dtype(hidden), weight.dtype, len(hidden), hidden.shape[1], len(weight),
            logits.bias is not None, logits.scale, logits.softcap, has_extras,
        )  # fmt: skip


class LogpKernel(Protocol):
    """Log-probs of targets under a linear head, for the tasks that fit it."""

    @property
    def name(self) -> str:
        """What users are told."""

    def misfit(self, task: LogpTask) -> str | None:
        """Why the task is not for this kernel; None if it is."""

    def logps(self, logits: LinearLogits, targets: Tensor) -> Tensor:
        """As `linear_logp`. Shape: (target,)."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels that may be used where they fit; None for plain torch.

    Args:
        attention: For attention over packed rows.
        logps: For log-probs without logits.
    """

    attention: AttentionKernel | None = None
    logps: LogpKernel | None = None

    def shared_with(self, other: "Kernels") -> "Kernels":
        """Those that were found right for both of two models."""
        return Kernels(
            self.attention if other.attention is not None else None, self.logps if other.logps is not None else None
        )


PLAIN = Kernels()
"""Plain torch, which is right everywhere."""
