"""`transformers.Trainer` over steps of groups: wiring only, through its public hooks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import EvalLoopOutput, TrainOutput
from typing_extensions import override

from preftune.groups import Origin
from preftune.metrics.sums import MetricSums
from preftune.model.load.device_memory import peak_memory_bytes
from preftune.model.load.load_model import has_dropout
from preftune.planning.summary import PlanSummary
from preftune.ranks import check_no_deepspeed
from preftune.training.fatal import all_finite, check_start, stop_before_saving, stop_before_step, without_start
from preftune.training.model_files import saving_model
from preftune.training.objective import Objective
from preftune.training.out_of_memory import OutOfMemory
from preftune.training.random_state import unchanged_random_state
from preftune.training.reference_sync import ReferenceSync
from preftune.training.resumption import Resumption
from preftune.training.steps import InParts, Step, StepSource
from preftune.training.tally import Tally


class Measure(Protocol):
    """Further metrics of the policy as it is at an evaluation.

    They are logged as `eval_NAME`, and `--keep best --metric NAME:higher` (or `NAME:lower`) may choose by them. Called
    on every rank, which must all come to the same numbers, with the policy in evaluation mode.
    """

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        """Values by name, without `eval_`."""


class PreferenceTrainer(Trainer):
    """Trains a policy by any method on groups of tokens.

    The dataloader yields whole steps. `training_step` runs their micro-batches and reduces gradients over ranks once,
    in the last one. The loss is the exact mean over the units of the step for any number of micro-batches and ranks.

    Args:
        model: The policy; with adapters of peft, or plain.
        args: `per_device_train_batch_size` is not read: `train_steps` hold whole steps. With
            `gradient_accumulation_steps` of n, the trainer asks n times for a batch of a step: the step comes last,
            after n - 1 times None, so that callbacks see n parts of a step.
        eval_steps: Held-out steps, or several sets of them by name; needed if `args.eval_strategy` is not `no`.
        out_of_memory: Handles steps that run out of memory. Default: end the run.
        reference_sync: Moves the reference as training goes. Default: it stays as it is.
        starts_at_reference: Policy and reference are equal before the first step, so that its loss is checked unless
            the model has dropout.
        warms_up_from_zero: Step k of n warm-up steps has (k - 1) / n of the peak learning rate, as in transformers: the
            first step learns nothing. If false, it has k / n.
        processing_class, callbacks, optimizers: As for `transformers.Trainer`.

    `train_steps` are the steps of the epoch; `tally` has the counts of the run so far, also of a resumed one.
    """

    keeps_arguments = False  # training_args.bin in checkpoints, a pickle

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        args: TrainingArguments,
        *,
        objective: Objective,
        train_steps: StepSource,
        eval_steps: StepSource | Mapping[str, StepSource] | None = None,
        out_of_memory: OutOfMemory | None = None,
        reference_sync: ReferenceSync | None = None,
        starts_at_reference: bool = False,
        warms_up_from_zero: bool = True,
        measures: Sequence[Measure] = (),
        processing_class: PreTrainedTokenizerBase | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[torch.optim.Optimizer | None, torch.optim.lr_scheduler.LambdaLR | None] = (None, None),
    ) -> None:
        check_no_deepspeed(args)
        self.objective: Objective = objective
        self._check_start = starts_at_reference and not has_dropout(model)
        self._warms_up_from_zero = warms_up_from_zero
        self._measures = tuple(measures)
        self._last_groups: tuple[int, ...] = ()
        self._out_of_memory = out_of_memory or OutOfMemory()
        self._reference_sync = reference_sync
        self.train_steps = train_steps
        self.tally = Tally(args.device)
        self._num_parameters = sum(parameter.numel() for parameter in model.parameters())
        uses_cache = getattr(model.config, "use_cache", True)
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_steps,
            eval_dataset=eval_steps,
            processing_class=processing_class,
            callbacks=[
                *(_EpochPlanner(train_steps), self.tally, objective.states),
                *([reference_sync] if reference_sync else []),
                *(callbacks or []),
                Resumption(),
            ],
            optimizers=optimizers,
        )
        # The trainer turns the cache off in the config, and the saved model would generate slowly. Here every forward
        # turns it off by itself.
        model.config.use_cache = uses_cache

    @property
    def last_rows(self) -> list[Origin]:
        """Origins of the groups of the last step, over all ranks."""
        return [self.train_steps.alone(group)[0] for group in self._last_groups]

    @property
    def plan(self) -> PlanSummary:
        """Summary of the plan of the current epoch."""
        return self.train_steps.summary()

    # --- data -------------------------------------------------------------------------------------------------

    @override
    def get_train_dataloader(self) -> DataLoader[Step]:
        """The steps of the epoch, as this rank sees them. Not sharded again by accelerate: the plan is per rank."""
        return self._dataloader(InParts(self.train_steps, self.args.gradient_accumulation_steps))

    @override
    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Step]:
        """The steps of the held-out groups, in file order."""
        steps: Any = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(steps, str):
            held_out: Any = self.eval_dataset
            steps = held_out[steps]
        assert steps is not None, "nothing is held out: pass eval_steps"
        return self._dataloader(steps)

    @override
    def get_batch_samples(self, epoch_iterator: Iterator[Step], num_batches: int, device: torch.device) -> Any:
        """The parts of the next step; none where a resumed run has nothing left to do: ended, or stopped early.

        Its units are counted in the plan, so the trainer has nothing to count.
        """
        if self.state.global_step >= self.state.max_steps or self.control.should_training_stop:
            return [], None
        return list(islice(epoch_iterator, num_batches)), None

    def _dataloader(self, steps: StepSource | InParts) -> DataLoader[Step]:
        dataset: Any = steps  # torch asks for a class of its own, but uses only length and items
        return DataLoader(dataset, batch_size=1, collate_fn=itemgetter(0), num_workers=self.args.dataloader_num_workers)

    @override
    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> AbstractContextManager[Any]:
        """Autocast of training for all that an objective runs: accelerate gives it to the policy, not the reference."""
        context: AbstractContextManager[Any] = self.accelerator.autocast()
        return context

    @override
    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LRScheduler:
        """The schedule of the arguments; with `warms_up_from_zero=False`, its warm-up is one step ahead."""
        is_new = self.lr_scheduler is None
        scheduler: LRScheduler = super().create_scheduler(num_training_steps, optimizer)
        num_warmup = self.args.get_warmup_steps(num_training_steps)
        if is_new and num_warmup and not self._warms_up_from_zero:
            assert isinstance(scheduler, LambdaLR), "all schedules of the settings are factors of the peak rate"
            self.lr_scheduler = scheduler = _one_step_ahead(scheduler, num_warmup)
        return scheduler

    # --- one step ---------------------------------------------------------------------------------------------

    @override
    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward of one step, cut again if memory runs out. Returns the mean loss, shape ().

        `inputs` is the step; or None for the parts before the last, which add nothing.
        """
        if inputs is None:
            return torch.zeros((), device=self.args.device)
        undo = self._undo_step(model)
        loss = self._out_of_memory.run(lambda step: self._learn(model, step), inputs, self.train_steps, undo=undo)
        self._check_numbers(model, inputs, loss)
        self._last_groups = inputs.groups
        self.tally.learned(loss, inputs.num_tokens)
        return loss

    def _undo_step(self, model: nn.Module) -> Callable[[], None]:
        """A function that reverts a failed step: gradients, metrics and the states of losses."""
        sums, states = MetricSums(dict(self.tally.sums.sums)), self.objective.states.snapshot()

        def undo() -> None:
            model.zero_grad(set_to_none=True)
            self.tally.sums = sums
            self.objective.states.restore(states)

        return undo

    def _learn(self, model: nn.Module, step: Step) -> Tensor:
        """Forward and backward, micro-batch by micro-batch. Returns the mean loss, shape ()."""
        step = step.to(self.args.device)
        model.train()
        is_start = self._check_start and self.state.global_step == 0
        with self.compute_loss_context_manager():
            context = self.objective.begin(model, step, learns=True, is_start=is_start)
        last = len(step.micro_batches) - 1
        step_loss = torch.zeros((), dtype=torch.float64, device=self.args.device)
        for index, batch in enumerate(step.micro_batches):
            with nullcontext() if index == last else self.accelerator.no_sync(model):
                with self.compute_loss_context_manager():
                    share, metrics = self.objective(model, batch, context, index=index)
                # DDP and FSDP average gradients over ranks; the shares of all ranks add up.
                loss = share * self.args.world_size
                self.accelerator.backward(loss)
            step_loss += loss.detach()
            self.tally.sums.merge(metrics)
        if is_start:
            self._check_start = False
            check_start(self.objective.method, self._over_ranks(self.tally.sums).means())
            self.tally.sums = without_start(self.tally.sums)
        return step_loss.float()

    def _check_numbers(self, model: nn.Module, step: Step, loss: Tensor) -> None:
        """Stop the run if loss or gradients are NaN or infinite, before the optimizer breaks the weights."""
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        # In fp16 the loss scaler expects such gradients now and then, and skips their step.
        is_finite = all_finite([loss] if self.args.fp16 else [loss, *gradients])
        if not self._on_all_ranks(is_finite):
            rows = {group: self.train_steps.alone(group) for group in step.groups}
            model.eval()
            with self.compute_loss_context_manager():
                guilty = [
                    origin
                    for origin, batch in rows.values()
                    if not self.objective.is_finite(model, batch.to(self.args.device))
                ]
            raise stop_before_step(self.state.global_step + 1, guilty, [origin for origin, _ in rows.values()])

    def _on_all_ranks(self, is_so: Tensor) -> bool:
        """True if something holds on every rank, so that all ranks take the same branch."""
        num_ranks: Tensor = self.accelerator.reduce(is_so.to(self.args.device, torch.float32))
        return int(num_ranks.item()) == int(self.args.world_size)

    # --- metrics ----------------------------------------------------------------------------------------------

    @override
    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """As in transformers. The mean loss is that of the whole run, also of a resumed one."""
        output: TrainOutput = super().train(*args, **kwargs)
        return output._replace(training_loss=output.metrics["train_loss"])

    @override
    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds metrics of the steps since the last log, and mean losses that a resumption does not divide."""
        if "loss" in logs:
            metrics = self._recent_metrics()
            logs["loss"] = self.tally.logged(self.state.global_step, self._mean_over_ranks)
            logs.update(metrics)
        if "train_loss" in logs:
            logs["train_loss"] = self.tally.mean_loss(self.state.global_step, self._mean_over_ranks)
        super().log(logs, start_time)

    def num_tokens(self) -> int:
        """Tokens learned from in the whole run, over all ranks. Every rank calls it."""
        return int(self.accelerator.reduce(torch.tensor(self.tally.num_tokens, device=self.args.device)).item())

    def _recent_metrics(self) -> dict[str, float]:
        means = self.objective.totals(self._over_ranks(self.tally.sums))
        means.pop("loss", None)  # its mean over steps is logged
        tokens_now = self.accelerator.reduce(torch.tensor(self.tally.recent_tokens, device=self.args.device)).item()
        means["tokens_per_second"] = tokens_now / max(self.tally.recent_seconds, 1e-9)
        means["peak_memory_gib"] = self._most_over_ranks(peak_memory_bytes() / 2**30)
        return {**means, "num_tokens": self.num_tokens()}

    def _mean_over_ranks(self, value: Tensor) -> float:
        return float(self.accelerator.gather(value.reshape(1)).mean().item())

    def _most_over_ranks(self, value: float) -> float:
        if self.args.world_size == 1:
            return value
        found: Tensor = self.accelerator.gather(torch.tensor([value], device=self.args.device))
        return float(found.max())

    def _over_ranks(self, metrics: MetricSums) -> MetricSums:
        """Sums and counts added up over all ranks. Every rank holds the same names: its steps are as many."""
        if self.args.world_size == 1 or not metrics.sums:
            return metrics
        table = self.accelerator.reduce(torch.stack(list(metrics.sums.values())))
        return MetricSums(dict(zip(metrics.sums, table, strict=True)))

    @override
    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """As in transformers, without a trace in the random generators: neither of loaders nor of measures."""
        with unchanged_random_state():
            return dict(super().evaluate(*args, **kwargs))

    @override
    def evaluation_loop(
        self,
        dataloader: DataLoader[Step],
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Loss and metrics over all held-out groups, exact over micro-batches and ranks."""
        model = self.model_wrapped
        was_training = model.training
        model.eval()
        sums = MetricSums()
        num_groups = 0
        show = self.is_world_process_zero() and not self.args.disable_tqdm
        for step in tqdm(dataloader, desc=description, disable=not show, leave=False):
            num_groups += len(step.groups)
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
            with self.compute_loss_context_manager():
                sums.merge(self.objective.evaluate(model, step.to(self.args.device)))
        totals = self.objective.totals(self._over_ranks(sums))
        for measure in self._measures:
            totals.update(measure(model))
        model.train(was_training)
        means = {f"{metric_key_prefix}_{name}": value for name, value in totals.items()}
        return EvalLoopOutput(predictions=np.empty(0), label_ids=None, metrics=means, num_samples=num_groups)

    # --- checkpoints ------------------------------------------------------------------------------------------

    @override
    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model, and into a checkpoint also a moving reference.

        The reference is saved before the file that marks the checkpoint as complete. `on_save` comes after it, when
        older checkpoints are deleted already.

        Raises:
            SickRunError: weights are NaN or infinite; nothing is written.
        """
        assert self.model is not None, "there is a model to save"
        trained = (parameter.detach() for parameter in self.model.parameters() if parameter.requires_grad)
        if not self._on_all_ranks(all_finite(trained)):
            raise stop_before_saving(self.state.global_step)
        if _internal_call:
            self.tally.gather(self._over_ranks, self._mean_over_ranks)
        keeps = self.keeps_arguments and _internal_call and output_dir is not None  # in a checkpoint
        tidies = saving_model(Path(output_dir or self.args.output_dir or "."), keeps_arguments=keeps)
        with tidies if self.args.should_save else nullcontext(), nullcontext() if _internal_call else self._unsharded():
            super().save_model(output_dir, _internal_call)
        if _internal_call and output_dir is not None and self._reference_sync and self.args.should_save:
            self._reference_sync.save(Path(output_dir))

    @contextmanager
    def _unsharded(self) -> Iterator[None]:
        """Context in which a model sharded by FSDP is saved as one, where transformers would save none."""
        if not self.is_fsdp_enabled:
            yield
            return
        plugin = self.accelerator.state.fsdp_plugin
        kept = plugin.state_dict_type
        plugin.set_state_dict_type("FULL_STATE_DICT")
        try:
            yield
        finally:
            plugin.set_state_dict_type(kept)

    @override
    def floating_point_ops(self, inputs: Any) -> int:
        """Forward and backward of the step's tokens: 6 operations per parameter and token."""
        step: Step | None = inputs
        return 0 if step is None else 6 * step.num_tokens * self._num_parameters


class _EpochPlanner(TrainerCallback):
    """Plans each epoch when it begins."""

    def __init__(self, steps: StepSource) -> None:
        self._steps = steps

    @override
    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # At a resumed run the epoch is a fraction: the one it was saved in goes on.
        self._steps.set_epoch(int(state.epoch or 0))


def _one_step_ahead(scheduler: LambdaLR, num_warmup: int) -> LambdaLR:
    """The schedule with a warm-up that begins at 1 / `num_warmup` of the peak and reaches the peak in its last step."""

    def ahead(factor: Callable[[int], float]) -> Callable[[int], float]:
        return lambda step: (step + 1) / num_warmup if step < num_warmup else factor(step)

    return LambdaLR(scheduler.optimizer, [ahead(factor) for factor in scheduler.lr_lambdas])
