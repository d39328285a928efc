"""Steps, and the sources that a trainer takes them from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from peft import PeftModel
from torch.utils.data import Dataset
from transformers import PreTrainedModel, TrainingArguments

from preftune.data.mixture import Mixture
from preftune.data.tokens.token_group import TokenGroup
from preftune.groups import Origin
from preftune.losses import Loss, Method
from preftune.model.forward.model_size import work_of
from preftune.model.forward.packed_batch import PackedBatch, pack
from preftune.planning.sizes import TOKENS, Layout, WorkModel, sizes_of
from preftune.planning.step import MicroBatchShape, StepPlan, epoch_steps, plan_step
from preftune.planning.summary import PlanSummary, summarise_plan, work_of_ranks


@dataclass(frozen=True, slots=True)
class Batching:
    """Settings that make steps of groups.

    Args:
        batch_size: Pairs, completions or prompts of an optimizer step, over all ranks.
        max_tokens: Memory budget of a micro-batch, in tokens as the model sees them.
        layout: Layout of the groups in the model's input.
        work: Cost model that ranks are balanced by.
        shuffle: Reshuffle in each epoch. If false, groups keep the order of the file.
    """

    batch_size: int
    max_tokens: int
    layout: Layout
    work: WorkModel = TOKENS
    seed: int = 0
    shuffle: bool = True
    num_ranks: int = 1
    rank: int = 0

    @staticmethod
    def of(
        model: PreTrainedModel | PeftModel,
        arguments: TrainingArguments,
        layout: Layout,
        *,
        batch_size: int,
        max_tokens: int,
        shuffle: bool = True,
    ) -> "Batching":
        """The batching for a model; seed and ranks are those of the trainer's arguments."""
        return Batching(
            batch_size=batch_size,
            max_tokens=max_tokens,
            layout=layout,
            work=work_of(model),
            seed=arguments.seed,
            shuffle=shuffle,
            num_ranks=arguments.world_size,
            rank=arguments.process_index,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One rank's share of an optimizer step.

    Args:
        micro_batches: The same number on every rank.
        num_units: Units that the mean of each part's loss is over, by weight and over all ranks, by the part's name.
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


class StepSource(Protocol):
    """A source of whole steps: item i is this rank's share of step i of the epoch.

    A trainer needs no more of its data than this. `StepDataset` reads steps from tokenized groups; another source may
    sample them from the policy. All ranks must make the same steps.
    """

    def __len__(self) -> int:
        """Number of steps of the epoch."""

    def __getitem__(self, index: int) -> Step: ...

    def set_epoch(self, epoch: int) -> None:
        """Plan another epoch, counted from 0."""

    def summary(self) -> PlanSummary:
        """Summary of the epoch's plan."""

    def work(self, index: int) -> float:
        """Work of the busiest rank in a step of the epoch, in the unit of the work model."""

    def alone(self, group: int) -> tuple[Origin, PackedBatch]:
        """Origin of a group of a step, and the group as a micro-batch of its own."""

    @property
    def max_tokens(self) -> int:
        """Memory budget of a micro-batch, in tokens as the model sees them."""

    def set_max_tokens(self, max_tokens: int) -> None:
        """Cut all further steps to another budget. The groups of a step and the ranks' shares of them stay."""

    @property
    def biggest_group(self) -> int:
        """Tokens of the biggest group, as the model sees them: the least budget."""

    def biggest_micro_batch(self, step: Step) -> int:
        """Tokens of the biggest micro-batch that any rank has in `step`, as the model sees them."""

    def cut_again(self, step: Step) -> Step:
        """The same step, cut to the current budget."""


class InParts:
    """Each step as `num_parts` items: None but for the last, which is the step."""

    def __init__(self, steps: StepSource, num_parts: int) -> None:
        self.steps = steps
        self._num_parts = num_parts

    def __len__(self) -> int:
        return len(self.steps) * self._num_parts

    def __getitem__(self, index: int) -> Step | None:
        step, part = divmod(index, self._num_parts)
        return self.steps[step] if part == self._num_parts - 1 else None


class StepDataset(Dataset[Step]):
    """The steps of a tokenized data set. Item i is a pure function of the groups, the seed and the epoch.

    Args:
        method: Decides the units that steps and means of losses are counted in.
        mixture: Draws the groups of each epoch. Default: all groups.
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
    def num_units(self) -> int:
        """Pairs, completions or prompts of an epoch, as the batch size counts them."""
        return sum(self._num_counted[group] for step in self._steps for group in step)

    @property
    def max_tokens(self) -> int:
        return self._batching.max_tokens

    def set_max_tokens(self, max_tokens: int) -> None:
        self._batching = replace(self._batching, max_tokens=max_tokens)

    @property
    def biggest_group(self) -> int:
        return max(self._num_tokens((group,)) for group in range(len(self._sizes)))

    def summary(self) -> PlanSummary:
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
        plan = self._plan(self._steps[index])
        return max(work_of_ranks(plan, self._sizes, self._batching.layout, self._batching.work))

    def biggest_micro_batch(self, step: Step) -> int:
        return max(self._num_tokens(chosen) for rank in self._plan(step.groups).ranks for chosen in rank)

    def alone(self, group: int) -> tuple[Origin, PackedBatch]:
        return self._groups[group].origin, pack([self._groups[group]])

    def cut_again(self, step: Step) -> Step:
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
        with_mismatched = mine if self._method.needs("mismatched") else ()
        return Step(
            micro_batches=tuple(self._micro_batch(chosen, groups) for chosen in mine),
            num_units={part.name: self._count(part.loss, groups) for part in self._method.parts},
            num_tokens=sum(self._sizes[group].packed_tokens for chosen in mine for group in chosen),
            groups=groups,
            mismatched=tuple(self._mismatched(chosen, groups) for chosen in with_mismatched),
        )

    def _mismatched(self, chosen: Sequence[int], step: Sequence[int]) -> PackedBatch:
        """The prompts of a micro-batch with completions of others. They need no graph, so they fit the budget."""
        groups = [self._groups[group].mismatched_group for group in chosen or step[:1]]
        return pack([group for group in groups if group is not None], weight=1.0 if chosen else 0.0)

    def _count(self, loss: Loss, groups: Sequence[int]) -> float:
        """Weight of the units that the mean of a loss is over, in these groups; their number if all weights are 1."""
        if loss.unit != "token":
            return sum(sum(self._groups[group].weights_in_loss(loss.unit)) for group in groups)
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
    tokens = [float(own.sum(dtype="float64")) for own in group.weights] or list(map(float, group.completion_lengths))
    if loss.feedback == "pairs":
        tokens = [tokens[pair.chosen] for pair in group.pairs]
    weights = group.weights_in_loss("pair" if loss.feedback == "pairs" else "completion")
    return sum(weight * count for weight, count in zip(weights, tokens, strict=True))
