"""The steps of a data set: what a rank gets from its dataloader."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.utils.data import Dataset

from preftune.data.token_group import TokenGroup
from preftune.losses import Loss, Unit
from preftune.planning import Layout, PlanSummary, epoch_steps, plan_step, sizes_of, summarise_plan
from preftune.policy.packed_batch import PackedBatch, pack

__all__ = ["Batching", "Step", "StepDataset"]


@dataclass(frozen=True, slots=True)
class Batching:
    """How groups become steps.

    Args:
        batch_size: Pairs or completions of an optimizer step, over all ranks.
        max_tokens: Budget of a micro-batch, in tokens as the model sees them.
        layout: How the model is given the groups.
        seed: What the order depends on.
        shuffle: Whether to shuffle each epoch anew; else file order.
        num_ranks: Processes that share each step.
        rank: Which of them this one is.
    """

    batch_size: int
    max_tokens: int
    layout: Layout
    seed: int = 0
    shuffle: bool = True
    num_ranks: int = 1
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One rank's share of an optimizer step.

    Args:
        micro_batches: As many on every rank.
        num_units: What the loss is the mean over, counted over all ranks.
        num_tokens: Tokens of the packed micro-batches of this rank.
    """

    micro_batches: tuple[PackedBatch, ...]
    num_units: int
    num_tokens: int

    def to(self, device: torch.device | str) -> "Step":
        """The same step with its tensors on `device`."""
        return replace(self, micro_batches=tuple(batch.to(device) for batch in self.micro_batches))


class StepDataset(Dataset[Step]):
    """The steps of an epoch. Item i is a pure function of the groups, the seed and the epoch.

    Args:
        groups: The data set, tokenized.
        loss: What a step is counted in: pairs for a loss of pairs, else completions.
        batching: How groups become steps.
    """

    def __init__(self, groups: Sequence[TokenGroup], loss: Loss, batching: Batching) -> None:
        self._groups = groups
        self._sizes = sizes_of(groups)
        self._batching = batching
        self._mean_over: Unit = loss.unit
        counted: Unit = "pair" if loss.feedback == "pairs" else "completion"
        self._num_units = [size.count(counted) for size in self._sizes]
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Plan another epoch."""
        batching = self._batching
        self._steps = epoch_steps(
            self._num_units,
            batch_size=batching.batch_size,
            seed=batching.seed,
            epoch=epoch,
            shuffle=batching.shuffle,
        )

    def summary(self) -> PlanSummary:
        """What the plan of the epoch comes to."""
        batching = self._batching
        return summarise_plan(
            self._steps,
            self._sizes,
            num_ranks=batching.num_ranks,
            max_tokens=batching.max_tokens,
            layout=batching.layout,
        )

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> Step:
        groups = self._steps[index]
        batching = self._batching
        plan = plan_step(
            groups,
            self._sizes,
            num_ranks=batching.num_ranks,
            max_tokens=batching.max_tokens,
            layout=batching.layout,
        )
        mine = plan.ranks[batching.rank]
        return Step(
            micro_batches=tuple(self._micro_batch(chosen, groups) for chosen in mine),
            num_units=sum(self._sizes[group].count(self._mean_over) for group in groups),
            num_tokens=sum(self._sizes[group].packed_tokens for chosen in mine for group in chosen),
        )

    def _micro_batch(self, chosen: Sequence[int], step: Sequence[int]) -> PackedBatch:
        if chosen:
            return pack([self._groups[group] for group in chosen])
        smallest = min(step, key=lambda group: self._sizes[group].packed_tokens)
        return pack([self._groups[smallest]], weight=0.0)
