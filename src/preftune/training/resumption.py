"""Evaluations of a resumed run: those of the run without a break, each once."""

from pathlib import Path
from typing import Any, final

import numpy as np
from transformers import DefaultFlowCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from preftune.metrics.catalogue import HELD_OUT


@final
class Resumption(TrainerCallback):
    """Makes a resumed run evaluate just where the run without a break does.

    It does not repeat the evaluation before the first step. A checkpoint may be older than the evaluation of its step:
    that of an epoch follows the checkpoint of the epoch's last step, and a signal skips it. A resumed run begins with
    such an evaluation. It comes last among the callbacks, since others compare an evaluation with the best before it.
    """

    def __init__(self) -> None:
        self._evaluates_at_start = False
        self._resumed_at = 0

    @override
    def on_init_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._evaluates_at_start = args.eval_on_start

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._resumed_at = state.global_step
        num_steps = len(kwargs["train_dataloader"]) // args.gradient_accumulation_steps
        # The trainer reads it after this event.
        args.eval_on_start = (
            _is_due(args, state, num_steps=num_steps) and not _is_done(state)
            if state.global_step
            else self._evaluates_at_start
        )

    @override
    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **_: Any
    ) -> None:
        if state.global_step == self._resumed_at > 0 and args.metric_for_best_model is not None:
            _compare_with_best(args, state, metrics)

    @override
    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step == self._resumed_at > 0 and _is_done(state):
            control.should_evaluate = False
            control.should_save = control.should_save and args.eval_on_start


def _is_due(args: TrainingArguments, state: TrainerState, *, num_steps: int) -> bool:
    """True if a run without a break evaluates after this step. `num_steps` are those of an epoch."""
    flow, control = DefaultFlowCallback(), TrainerControl()
    flow.on_step_end(args, state, control)
    if state.global_step % num_steps == 0 or state.global_step >= state.max_steps:
        flow.on_epoch_end(args, state, control)
    return bool(control.should_evaluate)


def _is_done(state: TrainerState) -> bool:
    """True if the log has an evaluation of this step."""
    logs = (log for log in reversed(state.log_history) if log["step"] == state.global_step)
    return any(name.startswith(HELD_OUT) for log in logs for name in log)


def _compare_with_best(args: TrainingArguments, state: TrainerState, metrics: dict[str, float]) -> None:
    """Note the best evaluation, as the trainer does for all but an evaluation at the start."""
    assert args.metric_for_best_model is not None, "there is something to choose by"
    value = metrics[HELD_OUT + args.metric_for_best_model.removeprefix(HELD_OUT)]
    worst = -np.inf if args.greater_is_better else np.inf
    best = worst if state.best_metric is None else state.best_metric
    if (value > best) if args.greater_is_better else (value < best):
        assert args.output_dir is not None, "a run has a folder"
        state.best_metric, state.best_global_step = value, state.global_step
        state.best_model_checkpoint = str(Path(args.output_dir) / f"checkpoint-{state.global_step}")
