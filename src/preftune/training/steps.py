"""The steps of a data set: what a rank gets from its dataloader."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch.utils.data import Dataset

from preftune.data.mixture import Mixture
from preftune.data.tokens.token_group import TokenGroup
from preftune.groups import Origin
from preftune.losses import Loss, Method
from preftune.model.forward.packed_batch import PackedBatch, pack
from preftune.planning import (
    TOKENS,
    Layout,
    MicroBatchShape,
    PlanSummary,
    StepPlan,
    WorkModel,
    epoch_steps,
    plan_step,
    sizes_of,
    summarise_plan,
    work_of_ranks,
)

__all__ = ["Batching", "Step", "StepDataset"]


@dataclass(frozen=True, slots=True)
class Batching:
    """How groups become steps.

    Args:
        batch_size: Pairs or completions of an optimizer step, over all ranks.
        max_tokens: Budget of a micro-batch, in tokens as the model sees them.
        layout: How the model is given the groups.
        work: What ranks are balanced by.
        seed: What the order depends on.
        shuffle: Whether to shuffle each epoch anew; else file order.
        num_ranks: Processes that share each step.
        rank: Which of them this one is.
    """

    batch_size: int
    max_tokens: int
    layout: Layout
    work: WorkModel = TOKENS
    seed: int = 0
    shuffle: bool = True
    num_ranks: int = 1
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One rank's share of an optimizer step.

    Args:
        micro_batches: As many on every rank.
        num_units: What the loss of each part of the method is the mean over, counted over all ranks, by its name.
        num_tokens: Tokens of the packed micro-batches of this rank.
        groups: Indices of the step's groups, those of all ranks.
        mismatched: Micro-batches of this rank's groups with completions of others, for methods that need them.
    """

    micro_batches: tuple[PackedBatch, ...]
    num_units: Mapping[str, float]
    num_tokens: int
    groups: tuple[int, ...]
    mismatched: tuple[PackedBatch, ...] = ()

    def to(self, device: torch.device | str) -> "Step":
        """The same step with its tensors on `device`."""
        return replace(
            self,
            micro_batches=tuple(batch.to(device) for batch in self.micro_batches),
            mismatched=tuple(batch.to(device) for batch in self.mismatched),
        )


class StepDataset(Dataset[Step]):
    """The steps of an epoch. Item i is a pure function of the groups, the seed and the epoch.

    Args:
        groups: The data set, tokenized.
        method: Says what a step is counted in, and what its losses are means over.
        batching: How groups become steps.
        mixture: Which groups an epoch holds. Default: all.
    """

    def __init__(
        self, groups: Sequence[TokenGroup], method: Method, batching: Batching, mixture: Mixture | None = None
    ) -> None:
        self._groups = groups
        self._mixture = mixture
        self._sizes = sizes_of(groups)
        self._method = method
        self._batching = batching
        self._num_counted = [size.count(method.counted) for size in self._sizes]
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Plan another epoch."""
        batching = self._batching
        drawn = self._mixture.draw(epoch) if self._mixture else range(len(self._groups))
        steps = epoch_steps(
            [self._num_counted[group] for group in drawn],
            batch_size=batching.batch_size,
            seed=batching.seed,
            epoch=epoch,
            shuffle=batching.shuffle,
        )
        self._steps = [tuple(drawn[place] for place in step) for step in steps]

    @property
    def max_tokens(self) -> int:
        """Budget of a micro-batch, in tokens as the model sees them."""
        return self._batching.max_tokens

    def set_max_tokens(self, max_tokens: int) -> None:
        """From now on cut steps under another budget. What a step holds and the ranks' shares of it stay."""
        self._batching = replace(self._batching, max_tokens=max_tokens)

    @property
    def biggest_group(self) -> int:
        """Tokens of the biggest group, as the model sees them: no budget can be below."""
        return max(self._num_tokens((group,)) for group in range(len(self._sizes)))

    def summary(self) -> PlanSummary:
        """What the plan of the epoch comes to."""
        batching = self._batching
        return summarise_plan(
            self._steps,
            self._sizes,
            num_ranks=batching.num_ranks,
            max_tokens=batching.max_tokens,
            layout=batching.layout,
            work=batching.work,
        )

    def work(self, index: int) -> float:
        """Work of the busiest rank in a step of the epoch, in the unit of the work model."""
        plan = self._plan(self._steps[index])
        return max(work_of_ranks(plan, self._sizes, self._batching.layout, self._batching.work))

    def biggest_micro_batch(self, step: Step) -> int:
        """Tokens of the biggest micro-batch that any rank has in `step`, as the model sees them."""
        return max(self._num_tokens(chosen) for rank in self._plan(step.groups).ranks for chosen in rank)

    def alone(self, group: int) -> tuple[Origin, PackedBatch]:
        """Where a group comes from, and the group as a micro-batch of its own."""
        return self._groups[group].origin, pack([self._groups[group]])

    def cut_again(self, step: Step) -> Step:
        """The same step under the budget as it is now."""
        return self._step(step.groups)

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> Step:
        return self._step(self._steps[index])

    def _plan(self, groups: Sequence[int]) -> StepPlan:
        batching = self._batching
        return plan_step(
            groups,
            self._sizes,
            num_ranks=batching.num_ranks,
            max_tokens=batching.max_tokens,
            layout=batching.layout,
            work=batching.work,
        )

    def _step(self, groups: tuple[int, ...]) -> Step:
        mine = self._plan(groups).ranks[self._batching.rank]
        return Step(
            micro_batches=tuple(self._micro_batch(chosen, groups) for chosen in mine),
            num_units={part.name: self._count(part.loss, groups) for part in self._method.parts},
            num_tokens=sum(self._sizes[group].packed_tokens for chosen in mine for group in chosen),
            groups=groups,
            mismatched=tuple(self._mismatched(chosen, groups) for chosen in mine) if self._needs_mismatched else (),
        )

    @property
    def _needs_mismatched(self) -> bool:
        return self._method.needs("mismatched")

    def _mismatched(self, chosen: Sequence[int], step: Sequence[int]) -> PackedBatch:
        """The prompts of a micro-batch with completions of others. They need no graph, so they fit the budget."""
        groups = [self._groups[group].mismatched_group for group in chosen or step[:1]]
        return pack([group for group in groups if group is not None], weight=1.0 if chosen else 0.0)

    def _count(self, loss: Loss, groups: Sequence[int]) -> float:
        """What the mean of a loss is over, in these groups."""
        if loss.unit != "token":
            return sum(self._sizes[group].count(loss.unit) for group in groups)
        return sum(_num_learned_tokens(self._groups[group], loss) for group in groups)

    def _num_tokens(self, chosen: Sequence[int]) -> int:
        return MicroBatchShape.of(self._sizes[group] for group in chosen).num_tokens(self._batching.layout)

    def _micro_batch(self, chosen: Sequence[int], step: Sequence[int]) -> PackedBatch:
        if chosen:
            return pack([self._groups[group] for group in chosen])
        smallest = min(step, key=lambda group: self._sizes[group].packed_tokens)
        return pack([self._groups[smallest]], weight=0.0)


def _num_learned_tokens(group: TokenGroup, loss: Loss) -> float:
    """Tokens that a loss of tokens is over, by weight: those of chosen completions, or of all."""
    weights = [float(own.sum()) for own in group.weights] or list(map(float, group.completion_lengths))
    return sum(weights[pair.chosen] for pair in group.pairs) if loss.feedback == "pairs" else sum(weights)
