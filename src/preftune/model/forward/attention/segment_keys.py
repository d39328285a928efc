"""A packed row as kernels for sequences of unequal length want it: each segment with its keys in one piece."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from preftune.model.forward.attention.blocks import Segment

__all__ = ["SegmentKeys"]


@dataclass(frozen=True, slots=True, eq=False)
class SegmentKeys:
    """The queries of a segment stand together in the row. Its keys are gathered: those of its prompt, then its own.

    Edges are the lengths added up, from 0 on: segment i has the rows `edges[i]` to `edges[i + 1]`.

    Args:
        places: Where the keys stand in the row. Shape: (key,).
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
