"""A micro-batch: many groups in one row of tokens, no padding.

The row is `[prompt | completion 1 | ... | completion N]` for one group after the other. Position ids restart at the
prompt's length for every completion, because each completion continues its prompt and knows nothing of its siblings.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from preftune.data.tokens.token_group import LossUnit, TokenGroup

Span = tuple[int, int]
"""Start and stop of a stretch of the row, as in `range(start, stop)`."""


@dataclass(frozen=True, slots=True)
class GroupSpan:
    """Position of one group in the row."""

    prompt: Span
    completions: tuple[Span, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PackedBatch:
    """One micro-batch of groups.

    Dimensions: (token,) places of the row; (target,) completion tokens, in row order, each predicted by an earlier
    place; (completion,) and (pair,) over all groups of the batch.

    Args:
        token_ids: The row. Shape: (token,).
        position_ids: Place of each token in its own sequence. Shape: (token,).
        predictors: Place in the row whose output predicts the target. Shape: (target,).
        targets: Token ids to be predicted. Shape: (target,).
        owners: Completion that a target belongs to. Shape: (target,).
        num_tokens: Length of each completion. Shape: (completion,).
        pairs: Indices of chosen and rejected completion. Shape: (pair, 2).
        margins: Margin of chosen over rejected, on the data's scale; NaN if unknown. Shape: (pair,).
        prompts: Index of the group that a completion belongs to. Shape: (completion,).
        scores: Score of a completion, on the data's scale; NaN if unknown. Shape: (completion,).
        desirable: Thumbs up (1) or down (0); NaN where there is none. Shape: (completion,).
        auxiliary: Further reward of a completion, 0 where there is none. Shape: (completion,).
        weights: Weight of each target; None if all are 1. Shape: (target,).
        pair_weights, completion_weights, prompt_weights: Weight in the mean of a loss over pairs, completions or
            prompts. Shape: (pair,), (completion,), (prompt,).
        spans: Positions of the groups in the row.
        keys: Cache key of each completion: `TokenGroup.keys`. Length: completion.
        weight: 1, or 0 for a batch that only keeps the ranks in step and must not count.
    """

    token_ids: Tensor
    position_ids: Tensor
    predictors: Tensor
    targets: Tensor
    owners: Tensor
    num_tokens: Tensor
    pairs: Tensor
    margins: Tensor
    prompts: Tensor
    scores: Tensor
    desirable: Tensor
    auxiliary: Tensor
    weights: Tensor | None
    pair_weights: Tensor
    completion_weights: Tensor
    prompt_weights: Tensor
    spans: tuple[GroupSpan, ...]
    keys: tuple[bytes, ...]
    weight: float = 1.0

    @property
    def num_completions(self) -> int:
        """Completions over all groups."""
        return self.num_tokens.shape[0]

    @property
    def sum_dtype(self) -> torch.dtype:
        """Type of sums over completions: float64 where there is one.

        The sum over hundreds of tokens in float32 rounds more than all its terms together, and differently for equal
        terms: the first DPO loss of a run would miss ln 2 in its sixth digit.
        """
        return torch.float32 if self.token_ids.device.type == "mps" else torch.float64

    def sum_by_completion(self, token_values: Tensor) -> Tensor:
        """Add up values per target over each completion, in `sum_dtype`. Shape: (target,) -> (completion,)."""
        sums = torch.zeros(self.num_completions, dtype=self.sum_dtype, device=token_values.device)
        return sums.index_add(0, self.owners, token_values.to(self.sum_dtype))

    def to(self, device: torch.device | str) -> "PackedBatch":
        """The same batch with its tensors on `device`."""
        tensors = {item.name: getattr(self, item.name) for item in fields(self)}
        is_mps = torch.device(device).type == "mps"  # which has no float64
        moved: dict[str, Any] = {
            name: (tensor.float() if is_mps and tensor.is_floating_point() else tensor).to(device, non_blocking=True)
            for name, tensor in tensors.items()
            if isinstance(tensor, Tensor)
        }
        return replace(self, **moved)


def pack(groups: Sequence[TokenGroup], *, weight: float = 1.0) -> PackedBatch:
    """Lay groups out in one row.

    >>> from preftune.groups import Origin, Pair
    >>> ids = lambda *values: np.array(values, dtype=np.int32)
    >>> group = TokenGroup(ids(5, 6), (ids(7), ids(8, 9)), (Pair(0, 1),), Origin("doc", 1))
    >>> batch = pack([group])
    >>> batch.token_ids.tolist(), batch.position_ids.tolist()
    ([5, 6, 7, 8, 9], [0, 1, 2, 2, 3])
    >>> batch.predictors.tolist(), batch.targets.tolist(), batch.owners.tolist()
    ([1, 1, 3], [7, 8, 9], [0, 1, 1])
    """
    row = _Row()
    for group in groups:
        row.append(group)
    return row.batch(weight)


class _Row:
    """A row that grows group by group."""

    def __init__(self) -> None:
        self.length = 0
        self.tokens: list[np.ndarray] = []
        self.positions: list[np.ndarray] = []
        self.predictors: list[np.ndarray] = []
        self.targets: list[np.ndarray] = []
        self.lengths: list[int] = []
        self.pairs: list[tuple[int, int]] = []
        self.margins: list[float] = []
        self.prompts: list[int] = []
        self.feedback: dict[str, list[float]] = {"scores": [], "desirable": [], "auxiliary": []}
        self.weights: list[np.ndarray] = []
        self.is_weighted = False
        self.loss_weights: dict[LossUnit, list[float]] = {unit: [] for unit in get_args(LossUnit)}
        self.spans: list[GroupSpan] = []
        self.keys: list[bytes] = []

    def append(self, group: TokenGroup) -> None:
        first_completion = len(self.lengths)
        prompt = self._place(group.prompt, first_position=0)
        spans = []
        for completion in group.completions:
            start, stop = self._place(completion, first_position=len(group.prompt))
            self.predictors.append(np.concatenate(([prompt[1] - 1], np.arange(start, stop - 1))))
            self.targets.append(completion)
            self.lengths.append(len(completion))
            spans.append((start, stop))
        self.spans.append(GroupSpan(prompt, tuple(spans)))
        self.keys += group.keys
        self.pairs += [(first_completion + pair.chosen, first_completion + pair.rejected) for pair in group.pairs]
        self.margins += [math.nan if pair.margin is None else pair.margin for pair in group.pairs]
        self._append_feedback(group)

    def _append_feedback(self, group: TokenGroup) -> None:
        number = len(group.completions)
        self.prompts += [len(self.spans) - 1] * number
        self.feedback["scores"] += group.scores or [math.nan] * number
        self.feedback["desirable"] += group.desirable or [math.nan] * number
        self.feedback["auxiliary"] += group.auxiliary or [0.0] * number
        for unit, known in self.loss_weights.items():
            known.extend(group.weights_in_loss(unit))
        self.is_weighted |= bool(group.weights)
        self.weights += group.weights or [np.ones(length, dtype=np.float32) for length in group.completion_lengths]

    def _place(self, tokens: np.ndarray, first_position: int) -> Span:
        start = self.length
        self.length += len(tokens)
        self.tokens.append(tokens)
        self.positions.append(np.arange(first_position, first_position + len(tokens)))
        return start, self.length

    def batch(self, weight: float) -> PackedBatch:
        return PackedBatch(
            token_ids=_long(self.tokens),
            position_ids=_long(self.positions),
            predictors=_long(self.predictors),
            targets=_long(self.targets),
            owners=torch.from_numpy(np.repeat(np.arange(len(self.lengths)), self.lengths)),
            num_tokens=torch.tensor(self.lengths),
            pairs=torch.tensor(self.pairs, dtype=torch.int64).reshape(-1, 2),
            margins=torch.tensor(self.margins, dtype=torch.float32),
            prompts=torch.tensor(self.prompts),
            **{name: torch.tensor(values, dtype=torch.float32) for name, values in self.feedback.items()},
            weights=torch.from_numpy(np.concatenate(self.weights)) if self.is_weighted else None,
            **{
                f"{unit}_weights": torch.tensor(values, dtype=torch.float64)
                for unit, values in self.loss_weights.items()
            },
            spans=tuple(self.spans),
            keys=tuple(self.keys),
            weight=weight,
        )


def _long(parts: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts).astype(np.int64))
