"""Shared-prompt attention on CUDA: flash attention over sequences of unequal length, as torch ships it.

A completion's keys are its prompt's and its own. The queries stand at the end of the keys, and flash attention aligns
its causal mask there ("bottom right") where there are more keys than queries: no mask is made, nothing of size
(token, token). Twin: `segment_attention`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any, final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from preftune.model.forward.attention.segments import SegmentKeys
from preftune.model.forward.kernels.kernels import AttentionLayer

DTYPES = frozenset({torch.bfloat16, torch.float16})
MAX_WIDTH = 256
WIDTH_STEP = 8
"""Head widths that flash attention supports: multiples of `WIDTH_STEP` up to `MAX_WIDTH`."""


@final
@dataclass(frozen=True, slots=True)
class VarlenAttention:
    """`torch.nn.attention.varlen` on packed rows. An `AttentionKernel`.

    Args:
        function: `varlen_attn`.
        takes_groups: True if it accepts fewer key heads than query heads (`enable_gqa`, from torch 2.12 on).
    Source: Dao 2023, arXiv:2307.08691; the alignment: flash-attention 2.1, "Change behavior of causal flag".
    """

    function: Callable[..., Any]
    takes_groups: bool

    @property
    def name(self) -> str:
        """See `AttentionKernel.name`."""
        return "variable-length flash attention"

    def misfit(self, layer: AttentionLayer) -> str | None:
        """See `AttentionKernel.misfit`."""
        if layer.device.type != "cuda":
            return f"not on {layer.device.type}"
        if layer.dtype not in DTYPES:
            return f"no {str(layer.dtype).removeprefix('torch.')}"
        if layer.softcap is not None:
            return "no soft-capping"
        if layer.has_sinks:
            return "no attention sinks"
        if layer.dropout > 0:
            return "no dropout here"
        if layer.value_width != layer.width:
            return f"no values of another width ({layer.value_width}) than keys ({layer.width})"
        if layer.width > MAX_WIDTH or layer.width % WIDTH_STEP != 0:
            return f"no heads of width {layer.width}"
        return None

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, keys: SegmentKeys, *, scaling: float, window: int | None
    ) -> Tensor:
        """See `AttentionKernel.attend`."""
        share = len(query) // len(key)
        key, value = (_gathered(tensor.transpose(0, 1), keys.places) for tensor in (key, value))
        grouped = {"enable_gqa": True} if share > 1 and self.takes_groups else {}
        if share > 1 and not grouped:
            key, value = key.repeat_interleave(share, 1), value.repeat_interleave(share, 1)
        output: Tensor = self.function(
            query.transpose(0, 1),
            key,
            value,
            keys.query_edges,
            keys.key_edges,
            keys.longest_queries,
            keys.longest_keys,
            scale=scaling,
            # Keys before and behind a query's own position, itself not counted; -1 for all.
            window_size=(-1 if window is None else window - 1, 0),
            **grouped,
        )
        return output.transpose(0, 1)


def find_varlen_attention() -> VarlenAttention | str:
    """The kernel of the installed torch, or the reason why it cannot be used.

    >>> kernel = find_varlen_attention()
    >>> isinstance(kernel, VarlenAttention) and kernel.name
    'variable-length flash attention'
    """
    from torch.nn.attention.varlen import varlen_attn

    keywords = set(signature(varlen_attn).parameters)
    missing = {"scale", "window_size"} - keywords
    if missing:
        return f"varlen_attn of torch {torch.__version__} takes no {' and no '.join(sorted(missing))}"
    return VarlenAttention(varlen_attn, takes_groups="enable_gqa" in keywords)


def _gathered(rows: Tensor, places: Tensor) -> Tensor:
    """`rows[places]`. Shape: (token, ...), (key,) -> (key, ...)."""
    result: Tensor = _Gathered.apply(rows, places)  # type: ignore[no-untyped-call]
    return result


class _Gathered(torch.autograd.Function):
    """Gather rows. A prompt's keys serve all its completions, so their gradients are added up in float32 or better."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.num_rows = len(rows)
        return rows.index_select(0, places)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        wide = torch.promote_types(grad.dtype, torch.float32)
        total = grad.new_zeros((ctx.num_rows, *grad.shape[1:]), dtype=wide)
        return total.index_add_(0, places, grad.to(wide)).to(grad.dtype), None
