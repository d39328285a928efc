"""The plan of a packed row's attention, which travels through the model as a forward keyword."""

from collections.abc import Sequence

import torch
from torch import Tensor

from preftune.model.forward.attention.blocks import Block, Segment, key_blocks, segments_of
from preftune.model.forward.attention.segment_keys import SegmentKeys
from preftune.model.forward.kernels.kernels import AttentionKernel
from preftune.model.forward.packed_batch import GroupSpan

__all__ = ["AttentionPlan"]


class AttentionPlan:
    """Which tokens of a packed row see which: made once per forward, used by every layer and by backward.

    Args:
        groups: Where the groups stand in the row.
        kernel: What layers that fit it may use; None for plain torch.
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
        """Which keys of `[prompt | own]` a segment's queries see, or None if it is plainly causal.

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
