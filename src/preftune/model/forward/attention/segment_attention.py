"""Shared-prompt attention in its plain form: one call per segment, on any device, differentiated by autograd."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import dropout as dropped_out
from torch.nn.functional import scaled_dot_product_attention

from preftune.model.forward.attention.segments import Block, Segment, SegmentKeys, key_blocks, segments_of
from preftune.model.forward.kernels.kernels import AttentionKernel
from preftune.model.forward.packed_batch import GroupSpan


class AttentionPlan:
    """Visibility among the tokens of a packed row: made once per forward, used by every layer and by backward.

    Args:
        groups: Positions of the groups in the row.
        kernel: Used by layers that it supports; None for plain torch.
    """

    def __init__(self, groups: Sequence[GroupSpan], kernel: AttentionKernel | None = None) -> None:
        self.groups = tuple(groups)
        self.segments = segments_of(groups)
        self.num_tokens = self.segments[-1].own[1]
        self.kernel = kernel
        self.windows_used: set[int | None] = set()
        self._blocks: dict[int | None, tuple[Block, ...]] = {}
        self._masks: dict[tuple[int, int, int | None], Tensor] = {}
        self._keys: dict[torch.device, SegmentKeys] = {}

    def blocks(self, window: int | None) -> tuple[Block, ...]:
        """Blocks of queries with the keys they see, for layers with this window."""
        if window not in self._blocks:
            self._blocks[window] = key_blocks(self.groups, window)
        return self._blocks[window]

    def segment_keys(self, device: torch.device) -> SegmentKeys:
        """The keys of each segment in one piece, for layers on this device."""
        if device not in self._keys:
            self._keys[device] = SegmentKeys.of(self.segments, device)
        return self._keys[device]

    def mask(self, segment: Segment, window: int | None, device: torch.device) -> Tensor | None:
        """Mask of a segment's queries over the keys `[prompt | own]`, or None if the ordinary causal mask is correct.

        Shape: (query, key), True where a query sees a key.
        """
        num_queries, num_before = segment.own[1] - segment.own[0], segment.prompt_length
        if num_before == 0 and (window is None or num_queries <= window):
            return None
        shape = (num_queries, num_before, window)
        if shape not in self._masks:
            queries = torch.arange(num_before, num_before + num_queries, device=device)[:, None]
            distance = queries - torch.arange(num_before + num_queries, device=device)
            self._masks[shape] = (distance >= 0) if window is None else (distance >= 0) & (distance < window)
        return self._masks[shape]


def segment_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: AttentionPlan,
    *,
    scaling: float,
    window: int | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attention of every token to its prompt and its own completion; see `block_attention` for the formula.

    Args:
        query: Shape: (head, token, width).
        key: Shape: (key head, token, width); each serves head / key head queries.
        value: Shape: (key head, token, value width).
        plan: Positions of prompts and completions in the row.
        scaling: Factor on the dot products.
        window: A token sees this many positions of its sequence, itself included; None for all.
        softcap: Bound on the scores, > 0; None for no bound.
        sinks: Score of a key without value that all queries see. Shape: (head,).
        dropout: Probability that an attention weight is set to 0, in [0, 1).
    Returns:
        Shape: (head, token, value width).
    """
    share = len(query) // len(key)
    key, value = key.repeat_interleave(share, 0), value.repeat_interleave(share, 0)
    outputs = []
    for segment in plan.segments:
        queries = query[:, slice(*segment.own)]
        keys = torch.cat([key[:, slice(*segment.prompt)], key[:, slice(*segment.own)]], 1)
        values = torch.cat([value[:, slice(*segment.prompt)], value[:, slice(*segment.own)]], 1)
        mask = plan.mask(segment, window, query.device)
        if softcap is None and sinks is None:
            outputs.append(_sdpa(queries, keys, values, mask, scaling, dropout))
        else:
            weights = _weights(queries @ keys.mT * scaling, mask, softcap, sinks)
            outputs.append(dropped_out(weights.to(values.dtype), dropout) @ values)
    return torch.cat(outputs, 1)


def _sdpa(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, dropout: float) -> Tensor:
    """SDPA on one sequence; no mask means the ordinary causal mask."""
    output: Tensor = scaled_dot_product_attention(
        query[None], key[None], value[None], mask, dropout_p=dropout, is_causal=mask is None, scale=scaling
    )
    return output[0]


def _weights(scores: Tensor, mask: Tensor | None, softcap: float | None, sinks: Tensor | None) -> Tensor:
    """Softmax in float32 or better, with soft-cap and sinks, which SDPA lacks. Shape: (head, query, key)."""
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is None:
        mask = torch.ones(scores.shape[1:], dtype=torch.bool, device=scores.device).tril()
    scores = scores.masked_fill(~mask, -torch.inf)
    if sinks is None:
        return scores.softmax(-1)
    sink_column = sinks.to(scores.dtype)[:, None, None].expand(-1, scores.shape[1], 1)
    return torch.cat([scores, sink_column], -1).softmax(-1)[..., :-1]
