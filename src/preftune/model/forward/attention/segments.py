"""The geometry of attention over a packed row: which queries see which keys.

Computed once per batch and window on the CPU, and shared by all layers and by backward.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from preftune.model.forward.packed_batch import GroupSpan, Span

BLOCK_QUERIES = 64
"""Queries per block: large enough for the matrix product, small enough to skip keys that none of them sees."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A causal stretch of the row, and the prompt elsewhere in the row that all its tokens see.

    Args:
        own: Position of the stretch.
        prompt: Position of the prompt that it continues; empty if the prompt is part of the stretch.
    """

    own: Span
    prompt: Span

    @property
    def prompt_length(self) -> int:
        """Position of the stretch's first token in its sequence."""
        return self.prompt[1] - self.prompt[0]

    def keys_seen(self, start: int, stop: int, window: int | None) -> list[Span]:
        """Stretches of the row with all keys that queries `start` to `stop` of this segment see.

        >>> Segment(own=(10, 14), prompt=(0, 6)).keys_seen(11, 13, window=None)
        [(0, 6), (10, 13)]
        >>> Segment(own=(10, 14), prompt=(0, 6)).keys_seen(11, 13, window=3)  # position 7 sees 5, 6, 7
        [(5, 6), (10, 13)]
        """
        first_position = self.prompt_length + start - self.own[0]
        first_seen = 0 if window is None else max(0, first_position - window + 1)
        spans = [(self.own[0] + max(0, first_seen - self.prompt_length), stop)]
        if first_seen < self.prompt_length:
            spans.insert(0, (self.prompt[0] + first_seen, self.prompt[1]))
        return spans


def segments_of(groups: Sequence[GroupSpan]) -> tuple[Segment, ...]:
    """Cut the row into segments, in row order and without gaps.

    The first completion directly follows its prompt, so the two form one causal stretch.

    >>> segments_of([GroupSpan((0, 4), ((4, 6), (6, 9)))])
    (Segment(own=(0, 6), prompt=(0, 0)), Segment(own=(6, 9), prompt=(0, 4)))
    """
    segments = []
    for group in groups:
        start, first_completion = group.prompt[0], group.completions[0]
        segments.append(Segment(own=(start, first_completion[1]), prompt=(start, start)))
        segments += [Segment(own=completion, prompt=group.prompt) for completion in group.completions[1:]]
    return tuple(segments)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some queries of the row and only the keys that they see.

    Args:
        queries: Positions of the queries.
        keys: Positions of the keys, in row order.
        num_keys: Number of keys.
        first_partial: Keys before this one are seen by all queries.
        hidden: True where a query must not see a key, for the keys from `first_partial` on. Shape: (query, key).
    """

    queries: slice
    keys: tuple[slice, ...]
    num_keys: int
    first_partial: int
    hidden: Tensor


def key_blocks(groups: Sequence[GroupSpan], window: int | None) -> tuple[Block, ...]:
    """Cut the row into blocks of queries, each with the keys that they see.

    Args:
        groups: Positions of the groups in the row.
        window: A token sees this many positions of its sequence, itself included; None for all.
    """
    segments = segments_of(groups)
    starts = [segment.own[0] for segment in segments]
    row = _Row.of(groups)
    edges = [*range(0, row.length, BLOCK_QUERIES), row.length]
    blocks = []
    for start, stop in pairwise(edges):
        spans = []
        for segment in segments[bisect_right(starts, start) - 1 :]:
            if segment.own[0] >= stop:
                break
            spans += segment.keys_seen(max(start, segment.own[0]), min(stop, segment.own[1]), window)
        blocks.append(_block(row, slice(start, stop), _merged(spans), window))
    return tuple(blocks)


def _merged(spans: list[Span]) -> list[Span]:
    """Join spans that touch or overlap."""
    merged: list[Span] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return merged


def _block(row: "_Row", queries: slice, spans: list[Span], window: int | None) -> Block:
    keys = np.concatenate([np.arange(*span) for span in spans])
    hidden = ~row.visible(np.arange(queries.start, queries.stop), keys, window)
    partial = hidden.any(axis=0)
    first_partial = int(partial.argmax()) if partial.any() else len(keys)
    return Block(
        queries=queries,
        keys=tuple(slice(*span) for span in spans),
        num_keys=len(keys),
        first_partial=first_partial,
        hidden=torch.from_numpy(np.ascontiguousarray(hidden[:, first_partial:])),
    )


_Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """Per token of the row: its part (a prompt or a completion), the part that is its prompt, its position."""

    part: _Integers
    prompt_part: _Integers
    position: _Integers

    @property
    def length(self) -> int:
        return len(self.part)

    @classmethod
    def of(cls, groups: Sequence[GroupSpan]) -> "_Row":
        length = groups[-1].completions[-1][1]
        row = cls(*(np.empty(length, dtype=np.int64) for _ in range(3)))
        parts = 0
        for group in groups:
            prompt_part, prompt_length = parts, group.prompt[1] - group.prompt[0]
            for start, stop in (group.prompt, *group.completions):
                first_position = 0 if parts == prompt_part else prompt_length
                row.part[start:stop] = parts
                row.prompt_part[start:stop] = prompt_part
                row.position[start:stop] = np.arange(first_position, first_position + stop - start)
                parts += 1
        return row

    def visible(self, queries: _Integers, keys: _Integers, window: int | None) -> npt.NDArray[np.bool_]:
        """True where a query sees a key. Shape: (query, key)."""
        related = self.part[queries][:, None] == self.part[keys]
        related |= self.prompt_part[queries][:, None] == self.part[keys]
        distance = self.position[queries][:, None] - self.position[keys]
        seen: npt.NDArray[np.bool_] = related & (distance >= 0)
        return seen if window is None else seen & (distance < window)


@dataclass(frozen=True, slots=True, eq=False)
class SegmentKeys:
    """A row as kernels for sequences of unequal length take it: queries as they are, keys gathered by segment.

    The keys of a segment are those of its prompt, then its own.

    Edges are the lengths added up, from 0 on: segment i has the rows `edges[i]` to `edges[i + 1]`.

    Args:
        places: Positions of the keys in the row. Shape: (key,).
        query_edges, key_edges: In int32. Shape: (segment + 1,).
        longest_queries, longest_keys: Largest number of queries and of keys of a segment.
    """

    places: Tensor
    query_edges: Tensor
    key_edges: Tensor
    longest_queries: int
    longest_keys: int

    @classmethod
    def of(cls, segments: Sequence[Segment], device: torch.device | str = "cpu") -> "SegmentKeys":
        """Of the segments of a row, in row order.

        >>> keys = SegmentKeys.of([Segment(own=(0, 6), prompt=(0, 0)), Segment(own=(6, 9), prompt=(0, 4))])
        >>> keys.places.tolist()
        [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 6, 7, 8]
        >>> keys.query_edges.tolist(), keys.key_edges.tolist()
        ([0, 6, 9], [0, 6, 13])
        """
        places = np.concatenate([np.arange(*span) for segment in segments for span in (segment.prompt, segment.own)])
        num_queries = [segment.own[1] - segment.own[0] for segment in segments]
        num_keys = [number + segment.prompt_length for number, segment in zip(num_queries, segments, strict=True)]
        return cls(
            places=torch.from_numpy(places).to(device),
            query_edges=_edges(num_queries, device),
            key_edges=_edges(num_keys, device),
            longest_queries=max(num_queries),
            longest_keys=max(num_keys),
        )


def _edges(lengths: Sequence[int], device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.cumsum([0, *lengths], dtype=np.int32)).to(device)
