"""Interfaces of kernels that replace plain torch on some devices.

A kernel states what it does not support. What it supports may still give wrong results on this machine, so
`choose_kernels` tests it before the first step; an untested kernel is not used.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from preftune.model.forward.attention.segments import SegmentKeys
from preftune.model.forward.head.tiles import LinearLogits, product_dtype


@dataclass(frozen=True, slots=True)
class AttentionLayer:
    """Shapes, types and options of an attention layer.

    Args:
        device: Device of its tensors.
        dtype: Of queries, keys and values.
        num_heads, num_key_heads: Heads of the queries, and of keys and values.
        width, value_width: Of a head of queries and keys, and of values.
        scaling: Factor on the dot products.
        window: A token sees this many positions, itself included; None for all.
        softcap: Bound on the scores; None for no bound.
        has_sinks: True if the layer has attention sinks.
        dropout: Probability that an attention weight is set to 0.
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
    """Shared-prompt attention for the layers that it supports."""

    @property
    def name(self) -> str:
        """Name that users see."""

    def misfit(self, layer: AttentionLayer) -> str | None:
        """The reason why the layer is not supported; None if it is."""

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, keys: SegmentKeys, *, scaling: float, window: int | None
    ) -> Tensor:
        """As `segment_attention`. Shape: (head, token, width)."""


@dataclass(frozen=True, slots=True)
class LogpTask:
    """Shapes, types and options of log-probs under a linear head.

    Args:
        device: Device of the tensors.
        dtype: Of the matrix products.
        weight_dtype: Of the head's weights, which may be wider.
        num_targets, width, vocabulary_size: Shapes of hidden states (target, width) and weights (vocabulary, width).
        has_bias: True if the head has a bias.
        scale: Factor on the logits.
        softcap: Bound on the logits; None for no bound.
        has_extras: True if more than the log-probs is requested.
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
    """Log-probs of targets under a linear head, for the tasks that it supports."""

    @property
    def name(self) -> str:
        """Name that users see."""

    def misfit(self, task: LogpTask) -> str | None:
        """The reason why the task is not supported; None if it is."""

    def logps(self, logits: LinearLogits, targets: Tensor) -> Tensor:
        """As `linear_logp`. Shape: (target,)."""


@dataclass(frozen=True, slots=True)
class Kernels:
    """Kernels to use where they are supported; None for plain torch.

    Args:
        attention: For attention over packed rows.
        logps: For log-probs without logits.
    """

    attention: AttentionKernel | None = None
    logps: LogpKernel | None = None

    def shared_with(self, other: "Kernels") -> "Kernels":
        """Kernels that passed the test for both of two models."""
        return Kernels(
            self.attention if other.attention is not None else None, self.logps if other.logps is not None else None
        )


PLAIN = Kernels()
"""Plain torch, which is correct everywhere."""
