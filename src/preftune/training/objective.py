"""From a micro-batch to its loss and metrics: the one place that joins log-probs and method."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState
from typing_extensions import override

from preftune.losses import Method, ReferencedLogps
from preftune.metrics.sums import MetricSums, standard_errors, without_squares
from preftune.model.forward.forward import Forward
from preftune.model.forward.packed_batch import PackedBatch
from preftune.model.reference.reference import Reference
from preftune.training.fatal import add_expected_loss
from preftune.training.step_metrics import add_metrics, error_metrics, total_metrics
from preftune.training.step_values import StepValues, measure
from preftune.training.steps import Step
from preftune.training.tally import kept_state


class LossStates(TrainerCallback, ExportableState):
    """A state per part of the method that keeps one. A callback, so that checkpoints hold it and resumed runs go on."""

    def __init__(self) -> None:
        self._states: dict[str, list[float]] = {}

    def of(self, method: Method, like: Tensor) -> Iterator[Tensor | None]:
        """The state of each part, or None for one without, on the device and in the dtype of `like`. Shape: (2,)."""
        for part in method.parts:
            state = self._states.get(part.name, [0.0, 0.0])
            yield None if part.loss.update is None else torch.tensor(state, dtype=like.dtype, device=like.device)

    def update(self, method: Method, values: StepValues) -> None:
        """Move on by one step, given the values of all of it."""
        with torch.no_grad():
            for part, state in zip(method.parts, self.of(method, values.policy), strict=True):
                if state is not None:
                    self._states[part.name] = part.updated(values.arguments(part, state=state)).tolist()

    def snapshot(self) -> Mapping[str, list[float]]:
        """The states as they are, for `restore`."""
        return dict(self._states)

    def restore(self, snapshot: Mapping[str, list[float]]) -> None:
        """Go back to an earlier `snapshot`."""
        self._states = dict(snapshot)

    @override
    def state(self) -> dict[str, Any]:
        """Content for checkpoints."""
        return {"args": {}, "attributes": {"_states": self._states}}

    @override
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._states = {}
        kept = kept_state(self, state)
        self._states = dict(kept["_states"]) if kept else {}


@dataclass(frozen=True, slots=True, eq=False)
class WholeStep:
    """The loss of a whole step whose rows depend on each other, and its gradient by the values of each micro-batch.

    Args:
        values: Of each micro-batch of this rank that counts, without a graph.
        gradients: Gradient of the loss by what is differentiable in each micro-batch of this rank, by name; empty for
            one that does not count.
        loss: Shape: ().
        share: Share of the loss of each micro-batch; those of all ranks add up to 1.
    """

    values: tuple[StepValues, ...]
    gradients: tuple[Mapping[str, Tensor], ...]
    loss: Tensor
    share: float
    metrics: MetricSums


@dataclass(frozen=True, slots=True, eq=False)
class StepContext:
    """Facts of a step that each of its micro-batches needs.

    Args:
        num_units: Units that the mean of each part is over, by weight and over all ranks, by the part's name.
        mismatched: Log-probs of completions after prompts of others, over the whole step.
        whole: For a method whose rows depend on each other, in a step of several micro-batches.
        is_start: True if the policy still equals its reference, so that the expected loss is among the metrics.
    """

    num_units: Mapping[str, float]
    mismatched: ReferencedLogps | None = None
    whole: WholeStep | None = None
    is_start: bool = False


@dataclass(frozen=True, slots=True)
class Objective:
    """The objective of a run: from a micro-batch to its share of the loss.

    A loss whose rows depend on each other is exact for any number of micro-batches and ranks: `begin` runs the policy
    once without a graph, takes the gradient of the whole step's loss by its log-probs, and each micro-batch is then
    run with a graph and given its part of that gradient.
    """

    method: Method
    reference: Reference
    forward: Forward
    states: LossStates = field(default_factory=LossStates)

    def begin(self, model: nn.Module, step: Step, *, learns: bool, is_start: bool = False) -> StepContext:
        """Compute the context of a step. Every rank calls it.

        Args:
            step: This rank's share, on its device.
            learns: Update the states of losses with this step.
        """
        context = StepContext(step.num_units, self._mismatched(model, step), is_start=is_start)
        is_one_batch = PartialState().num_processes == 1 and len(step.micro_batches) == 1
        if not self.method.across_rows or is_one_batch:
            return context
        with torch.no_grad():
            batches = [batch for batch in step.micro_batches if batch.weight]
            own = [self._values(model, batch, with_entropy=not learns).detached() for batch in batches]
        return replace(context, whole=self._whole_step(step, own, gather_object([own]), context, learns=learns))

    def __call__(
        self, model: nn.Module, batch: PackedBatch, context: StepContext, *, index: int = 0, learns: bool = True
    ) -> tuple[Tensor, MetricSums]:
        """This micro-batch's share of the step's loss, and the sums of its metrics.

        Args:
            batch: A micro-batch; with weight 0 it gives a loss of 0 that still reaches every parameter.
            index: Which micro-batch of this rank's share it is.
        Returns:
            The share: those of all micro-batches and ranks add up to the loss, the weighted sum of the parts' exact
            means over the step. Shape: (). And the metrics.
        """
        values = self._values(model, batch, with_entropy=not learns)
        metrics = MetricSums()
        add_metrics(metrics, self.method, values, batch.weight, with_errors=not learns)
        if context.whole is not None:
            if index == 0:
                metrics.merge(context.whole.metrics)
            return _learning_from(values, context.whole, index), metrics
        if self.method.across_rows and learns:
            self.states.update(self.method, values)
        return self._loss(values, context, metrics, weight=batch.weight) * batch.weight, metrics

    def evaluate(self, model: nn.Module, step: Step) -> MetricSums:
        """Metrics of a step, the loss among them, without learning from it."""
        with torch.no_grad():
            context = self.begin(model, step, learns=False)
            metrics = MetricSums()
            if context.whole is not None:
                metrics.merge(context.whole.metrics)
                for values in context.whole.values:
                    add_metrics(metrics, self.method, values, 1.0, with_errors=True)
                return metrics
            for batch in step.micro_batches:
                metrics.merge(self(model, batch, context, learns=False)[1])
        return metrics

    def totals(self, sums: MetricSums) -> dict[str, float]:
        """Means of metrics, with those that are made of others, and standard errors where they were asked for."""
        means = total_metrics(self.method, without_squares(sums.means()))
        return {**means, **error_metrics(self.method, standard_errors(sums))}

    def is_finite(self, model: nn.Module, batch: PackedBatch) -> bool:
        """True if all log-probs of a micro-batch are finite."""
        with torch.no_grad():
            return self._values(model, batch).is_finite

    def _values(self, model: nn.Module, batch: PackedBatch, *, with_entropy: bool = False) -> StepValues:
        return measure(self.method, self.reference, self.forward, model, batch, with_entropy=with_entropy)

    def _whole_step(
        self, step: Step, own: list[StepValues], ranks: list[list[StepValues]], context: StepContext, *, learns: bool
    ) -> WholeStep:
        device = step.micro_batches[0].token_ids.device
        leaves = [[values.to(device).as_leaves() for values in micro_batches] for micro_batches in ranks]
        metrics = MetricSums()
        with torch.enable_grad():
            joined = StepValues.joined([values for micro_batches in leaves for values in micro_batches])
            if learns:
                self.states.update(self.method, joined)
            loss = self._loss(joined, context, metrics, weight=1 / len(ranks))
            loss.backward()
        mine = iter(leaves[PartialState().process_index])
        return WholeStep(
            values=tuple(own),
            gradients=tuple(_gradients(next(mine)) if batch.weight else {} for batch in step.micro_batches),
            loss=loss.detach(),
            share=1 / (len(ranks) * len(step.micro_batches)),
            metrics=metrics,
        )

    def _loss(self, values: StepValues, context: StepContext, metrics: MetricSums, *, weight: float) -> Tensor:
        """Weighted sum of the parts' means over the step; their rows are metrics of this weight."""
        loss = values.policy.new_zeros(())
        for part, state in zip(self.method.parts, self.states.of(self.method, values.policy), strict=True):
            rows = part(*values.arguments(part, mismatched=context.mismatched, state=state).values())
            rows = rows * values.row_weights(part.loss).to(rows.dtype)
            count = values.num_units(part.loss)
            name = f"loss/{part.name}" if len(self.method.parts) > 1 else "loss"
            metrics.add(name, rows, count=count, weight=weight)
            if context.is_start:
                add_expected_loss(metrics, part, values, context.mismatched, count=count, weight=weight)
            loss = loss + rows.sum() * (part.weight / context.num_units[part.name])
        return loss

    def _mismatched(self, model: nn.Module, step: Step) -> ReferencedLogps | None:
        if not self.method.needs("mismatched"):
            return None
        with torch.no_grad():
            own = [self._values(model, batch).detached() for batch in step.mismatched if batch.weight]
        found = [values for rank in gather_object([own]) for values in rank]
        logps = StepValues.joined(found).to(step.micro_batches[0].token_ids.device).logps
        assert isinstance(logps, ReferencedLogps), "mismatched completions are compared with a reference"
        return logps


def _gradients(values: StepValues) -> dict[str, Tensor]:
    found = {name: leaf.grad for name, leaf in values.differentiable.items()}
    return {name: gradient for name, gradient in found.items() if gradient is not None}


def _learning_from(values: StepValues, whole: WholeStep, index: int) -> Tensor:
    """A micro-batch's share of the loss, whose gradient is that of the step's loss through its values. Shape: ().

    With the step's loss L a function of the values v_1 .. v_M of its micro-batches, the chain rule gives

    dL/dtheta = sum over m of (dL/dv_m) * (dv_m/dtheta)

    `begin` has computed g_m = dL/dv_m at all values, without a graph of the model. Here v_m has its graph, and the
    gradient of sum(v_m * g_m) with g_m constant is the m-th term. The value of that sum has no meaning, so it is
    subtracted again and replaced by this micro-batch's share of L.
    """
    learning = 0.0 * values.policy.sum()  # reaches every parameter where there is nothing to learn
    for name, gradient in whole.gradients[index].items():
        learning = learning + (values.differentiable[name] * gradient).sum()
    return learning - learning.detach() + whole.share * whole.loss
