"""Shared-prompt attention in its plain form: one call per segment, on any device, differentiated by autograd."""

import torch
from torch import Tensor
from torch.nn.functional import dropout as dropped_out
from torch.nn.functional import scaled_dot_product_attention

from preftune.model.forward.attention.plan import AttentionPlan

__all__ = ["segment_attention"]


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
        plan: Where prompts and completions stand in the row.
        scaling: Factor on the dot products.
        window: A token sees this many positions of its sequence, itself included; None for all.
        softcap: Bound on the scores, > 0; None for no bound.
        sinks: Score of a key without value that all queries see. Shape: (head,).
        dropout: Probability that an attention weight is left out, in [0, 1).
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
    """SDPA on one sequence; no mask means that the segment is plainly causal."""
    output: Tensor = scaled_dot_product_attention(
        query[None], key[None], value[None], mask, dropout_p=dropout, is_causal=mask is None, scale=scaling
    )
    return output[0]


def _weights(scores: Tensor, mask: Tensor | None, softcap: float | None, sinks: Tensor | None) -> Tensor:
    """Softmax of the scores in float32 or better, with what SDPA lacks. Shape: (head, query, key)."""
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
