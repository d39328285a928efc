"""Shared-prompt attention on CPU: blocks of queries against only the keys that they see.

One mask over the whole row would cost (token, token); one call per segment is slow on short completions. A block
takes queries of several completions together and leaves out the keys that none of them sees. Twin:
`segment_attention`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from preftune.model.forward.attention.segments import Block

KEPT_KEYS = 1024
"""Attention weights of blocks with at most this many keys are kept for backward; others are computed again, so that
memory per token is bounded however long the prompt."""


def block_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    blocks: Sequence[Block],
    *,
    scaling: float,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attention of every token to its prompt and its own completion.

    score  = softcap * tanh(query . key * scaling / softcap), or query . key * scaling
    output = sum over visible keys of exp(score) * value / (exp(sink) + sum over visible keys of exp(score))

    Scores and their softmax are float32, or float64 for float64 inputs; products with values and gradients are in the
    dtype of the inputs, summed up in float32 over blocks.

    Args:
        query: Shape: (head, token, width).
        key: Shape: (key head, token, width); each serves head / key head queries.
        value: Shape: (key head, token, value width). All three of one dtype.
        blocks: Visible keys by block of queries, from `key_blocks`.
        scaling: Factor on the dot products.
        softcap: Bound on the scores, > 0; None for no bound.
        sinks: Score of a key without value that all queries see. Shape: (head,).
    Returns:
        Shape: (head, token, value width).
    Differs: no dropout; `segment_attention` has it.
    """
    rule = _Rule(tuple(blocks), len(query) // len(key), scaling, softcap)
    output: Tensor = _BlockAttention.apply(query, key, value, sinks, rule)  # type: ignore[no-untyped-call]
    return output


@dataclass(frozen=True, slots=True, eq=False)
class _Rule:
    """Visible keys and their weighting. `share` query heads use one key head."""

    blocks: tuple[Block, ...]
    share: int
    scaling: float
    softcap: float | None

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Scores in the dtype of the operands, before masking. Shape: (key head, share * query, key)."""
        scores = torch.bmm(queries, keys.transpose(1, 2)).mul_(self.scaling)
        return scores if self.softcap is None else scores.div_(self.softcap).tanh_().mul_(self.softcap)

    def weights(self, block: Block, scores: Tensor, sinks: Tensor | None) -> Tensor:
        """Softmax over the visible keys and the sink. Overwrites the scores."""
        if block.first_partial < block.num_keys:
            by_head = scores.view(len(scores), self.share, -1, block.num_keys)
            by_head[..., block.first_partial :].masked_fill_(block.hidden, -torch.inf)
        if sinks is None:
            return scores.softmax(-1)
        sink_column = sinks.to(scores.dtype).view(len(scores), self.share, 1, 1)
        sink_column = sink_column.expand(-1, -1, scores.shape[1] // self.share, 1).reshape(*scores.shape[:2], 1)
        return torch.cat([scores, sink_column], -1).softmax(-1)[..., :-1]

    def slope(self, scores: Tensor) -> Tensor | float:
        """Derivative of the scores with respect to the dot products."""
        if self.softcap is None:
            return self.scaling
        return scores.div(self.softcap).square_().neg_().add_(1.0).mul_(self.scaling)

    def keeps(self, block: Block) -> bool:
        """True if a block's weights are kept for backward. With a soft-cap, backward needs the scores too."""
        return self.softcap is None and block.num_keys <= KEPT_KEYS

    def stacked(self, tensor: Tensor, block: Block) -> Tensor:
        """A block's rows, heads that share a key head below one another: (key head, share * query, width)."""
        rows = tensor[:, block.queries]
        return rows.reshape(rows.shape[0] // self.share, self.share * rows.shape[1], rows.shape[2])


# Derivation of the backward, for query i and its visible keys j, with g_i = d loss / d output_i:
#
#     x_ij = query_i . key_j                      s_ij = softcap * tanh(scaling * x_ij / softcap), or scaling * x_ij
#     w_ij = exp(s_ij) / (exp(sink) + sum over k of exp(s_ik))            output_i = sum over j of w_ij * value_j
#
# The output is linear in values and weights:
#
#     d loss / d value_j = sum over i of w_ij * g_i                       d loss / d w_ij = g_i . value_j =: gain_ij
#
# Through the softmax, d w_ik / d s_ij = w_ik * ([j = k] - w_ij), so
#
#     d loss / d s_ij = w_ij * (gain_ij - sum over k of w_ik * gain_ik) = w_ij * (gain_ij - g_i . output_i)
#
# The sum over k needs no second pass over the keys: it is `mean_gain`, the product of two saved rows. The sink has no
# value, so its gain is 0 and the sum stays the same with it. Its weight is 1 minus those of the keys, so
#
#     d loss / d sink = -sum over i of (1 - sum over j of w_ij) * g_i . output_i
#
# Through the score, slope_ij = d s_ij / d x_ij = scaling * (1 - (s_ij / softcap)^2), or scaling; with
# change_ij = w_ij * (gain_ij - mean_gain_i) * slope_ij:
#
#     d loss / d query_i = sum over j of change_ij * key_j
#     d loss / d key_j   = sum over i of change_ij * query_i
#
# Hidden keys have w_ij = 0 and drop out of all sums. Query heads that share a key head are stacked as rows, so the sums
# over i run over them too.
class _BlockAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None, rule: _Rule) -> Tensor:
        wide = torch.promote_types(query.dtype, torch.float32)
        wide_keys = key.to(wide)
        output = value.new_empty(*query.shape[:2], value.shape[2])
        kept: list[Tensor | None] = []
        for block in rule.blocks:
            scores = rule.scores(rule.stacked(query, block).to(wide), _taken(wide_keys, block))
            weights = rule.weights(block, scores, sinks).to(value.dtype)
            _unstack(output, block, torch.bmm(weights, _taken(value, block)))
            kept.append(weights if rule.keeps(block) else None)
        ctx.save_for_backward(query, key, value, sinks, output, *kept)
        ctx.rule = rule
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, sinks, output, *kept = ctx.saved_tensors
        rule: _Rule = ctx.rule
        wide = torch.promote_types(query.dtype, torch.float32)
        wide_keys = key.to(wide)
        mean_gain = (grad_output.to(wide) * output).sum(-1, keepdim=True)
        grad_query = torch.empty_like(query)
        grad_key, grad_value = torch.zeros_like(wide_keys), torch.zeros_like(value, dtype=wide)
        sink_weights = None if sinks is None else torch.empty_like(mean_gain)
        for block, kept_weights in zip(rule.blocks, kept, strict=True):
            queries, grads = rule.stacked(query, block), rule.stacked(grad_output, block)
            slope: Tensor | float = rule.scaling
            weights = kept_weights
            if weights is None:
                scores = rule.scores(queries.to(wide), _taken(wide_keys, block))
                slope = rule.slope(scores)  # Before the next line overwrites the scores.
                weights = rule.weights(block, scores, sinks).to(value.dtype)
            if sink_weights is not None:
                _unstack(sink_weights, block, 1 - weights.sum(-1, keepdim=True, dtype=wide))
            _put_back(grad_value, block, torch.bmm(weights.transpose(1, 2), grads))
            gain = torch.bmm(grads, _taken(value, block).transpose(1, 2)).to(wide)
            change = gain.sub_(rule.stacked(mean_gain, block)).mul_(weights).mul_(slope).to(query.dtype)
            _unstack(grad_query, block, torch.bmm(change, _taken(key, block)))
            _put_back(grad_key, block, torch.bmm(change.transpose(1, 2), queries))
        grad_sinks = None
        if sinks is not None and sink_weights is not None:
            grad_sinks = -(sink_weights * mean_gain).sum((1, 2)).to(sinks.dtype)
        return grad_query, grad_key.to(key.dtype), grad_value.to(value.dtype), grad_sinks, None


def _unstack(target: Tensor, block: Block, rows: Tensor) -> None:
    """The opposite of `_Rule.stacked`: write a block's rows to where they belong."""
    place = target[:, block.queries]
    place.copy_(rows.view(place.shape))


def _taken(tensor: Tensor, block: Block) -> Tensor:
    """The keys or values that a block sees: (key head, key, width)."""
    parts = [tensor[:, span] for span in block.keys]
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _put_back(target: Tensor, block: Block, rows: Tensor) -> None:
    """The opposite of `_taken`: add rows to where they were taken from."""
    parts = torch.split(rows, [span.stop - span.start for span in block.keys], dim=1)
    for span, part in zip(block.keys, parts, strict=True):
        target[:, span] += part
