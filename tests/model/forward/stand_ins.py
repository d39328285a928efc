"""Kernels of GPUs, written out in plain torch by what their documentation says: a CPU can run what uses them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from preftune.model.forward.attention.segments import SegmentKeys
from preftune.model.forward.attention.varlen_attention import VarlenAttention
from preftune.model.forward.head.cut_cross_entropy import CutCrossEntropy
from preftune.model.forward.head.linear_logp import plain_linear_logp
from preftune.model.forward.head.tiles import LinearLogits
from preftune.model.forward.kernels.kernels import AttentionLayer, LogpTask


def varlen_attn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    return_aux: object = None,
    scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    enable_gqa: bool = False,
) -> Tensor:
    """`torch.nn.attention.varlen.varlen_attn`.

    The mask is aligned to the bottom right: query i of a sequence sees the keys from i + offset - left to
    i + offset + right, both included, where offset = keys - queries; -1 for no bound.
    """
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert max_q == int(cu_seq_q.diff().max())
    assert max_k == int(cu_seq_k.diff().max())
    assert enable_gqa or query.shape[1] == key.shape[1]
    share = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(share, 1), value.repeat_interleave(share, 1)
    left, right = window_size
    outputs = []
    for queries, keys in zip(pairwise(cu_seq_q.tolist()), pairwise(cu_seq_k.tolist()), strict=True):
        q, k, v = query[slice(*queries)], key[slice(*keys)], value[slice(*keys)]
        ahead = torch.arange(len(k)) - (torch.arange(len(q))[:, None] + len(k) - len(q))
        hidden = (ahead > right if right >= 0 else ahead > len(k)) | (ahead < -left if left >= 0 else ahead < -len(k))
        wide = torch.promote_types(q.dtype, torch.float32)
        scores = torch.einsum("qhw,khw->hqk", q.to(wide), k.to(wide)) * (scale or q.shape[-1] ** -0.5)
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        outputs.append(torch.einsum("hqk,khw->qhw", weights, v.to(wide)).to(q.dtype))
    return torch.cat(outputs)


def aligned_top_left(
    query: Tensor, key: Tensor, value: Tensor, cu_seq_q: Tensor, cu_seq_k: Tensor, *lengths: int, **options: Any
) -> Tensor:
    """Wrong: the first query sees the first key only, as causal attention of flash-attention did before 2.1."""
    starts = torch.cat([torch.arange(edge, edge + n) for edge, n in zip(cu_seq_k, cu_seq_q.diff(), strict=False)])
    return varlen_attn(
        query, key[starts], value[starts], cu_seq_q, cu_seq_q, lengths[0], int(cu_seq_q.diff().max()), **options
    )


def without_gradient_by_key(query: Tensor, key: Tensor, *others: Any, **options: Any) -> Tensor:
    """Wrong in backward only."""
    return varlen_attn(query, key.detach() + 0 * key, *others, **options)


def refusing(*_: Any, **__: Any) -> Tensor:
    """As on a GPU that is too old."""
    raise RuntimeError("FlashAttention only supports Ampere GPUs or newer.\nsomewhere in C++")


def linear_cross_entropy(
    e: Tensor,
    c: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    ignore_index: int = -100,
    softcap: float | None = None,
    reduction: str = "mean",
    shift: bool | int = 0,
    filter_eps: float | str | None = "auto",
    accum_e_fp32: bool = False,
    accum_c_fp32: bool = False,
) -> Tensor:
    """`cut_cross_entropy.linear_cross_entropy`; float64 is for tests, which the kernel has not."""
    assert e.dtype == c.dtype
    assert (reduction, filter_eps, accum_e_fp32, accum_c_fp32) == ("none", None, True, True)
    wide = torch.promote_types(e.dtype, torch.float32)
    return -plain_linear_logp(
        e.to(wide), c.to(wide), targets, bias=None if bias is None else bias.to(wide), softcap=softcap
    )


def linear_cross_entropy_of_25_1(
    e: Tensor,
    c: Tensor,
    targets: Tensor,
    ignore_index: int = -100,
    softcap: float | None = None,
    reduction: str = "mean",
    shift: bool = False,
    filter_eps: float | str | None = "high",
    impl: str = "cce",
) -> Tensor:
    """The one of version 25.1.1, which is what PyPI has."""
    raise AssertionError("it must not be called: it sums gradients up in bfloat16")


@dataclass(frozen=True)
class FlashOnCpu:
    """`VarlenAttention` that takes any device and dtype; what else does not fit, does not fit here either."""

    function: Callable[..., Tensor] = varlen_attn
    takes_groups: bool = True
    name: str = "flash"

    @property
    def real(self) -> VarlenAttention:
        return VarlenAttention(self.function, self.takes_groups)

    def misfit(self, layer: AttentionLayer) -> str | None:
        return self.real.misfit(replace(layer, device=torch.device("cuda"), dtype=torch.bfloat16))

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, keys: SegmentKeys, *, scaling: float, window: int | None
    ) -> Tensor:
        return self.real.attend(query, key, value, keys, scaling=scaling, window=window)


@dataclass(frozen=True)
class CceOnCpu:
    """`CutCrossEntropy`, likewise."""

    function: Callable[..., Tensor] = linear_cross_entropy
    name: str = "cce"

    @property
    def real(self) -> CutCrossEntropy:
        return CutCrossEntropy(self.function)

    def misfit(self, task: LogpTask) -> str | None:
        return self.real.misfit(replace(task, device=torch.device("cuda"), dtype=torch.bfloat16))

    def logps(self, logits: LinearLogits, targets: Tensor) -> Tensor:
        return self.real.logps(logits, targets)
