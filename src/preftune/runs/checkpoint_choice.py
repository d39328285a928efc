"""Which checkpoint becomes the run's model: transformers' choice of the best one, held to our metrics and folders."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from preftune.errors import ConfigError, SaveError, TrainingError
from preftune.metrics.catalogue import HELD_OUT, SAMPLES_KL
from preftune.settings import TrainConfig

__all__ = ["KeptCheckpoint", "check_within_budget", "choice_arguments", "choice_callbacks", "kept_checkpoint"]


@dataclass(frozen=True, slots=True)
class KeptCheckpoint:
    """The checkpoint that became the run's model.

    Args:
        metric: What it was the best by, on held-out data.
        value: What it had there.
        at_start: What the model had before the first step.
        step: Steps it was made after.
    """

    metric: str
    value: float
    at_start: float | None
    step: int


def choice_arguments(config: TrainConfig) -> dict[str, Any]:
    """Arguments of `TrainingArguments` that make the trainer choose, in place of those that would make it not.

    The best checkpoint can only be one that was written, so that one is at every evaluation. Two stay on disk at least:
    the best, and the last, from which a run that was stopped goes on.
    """
    choice, output = config.choice, config.output
    if choice.keep == "last":
        return {}
    name, direction = choice.chosen_by(config.method)
    return {
        "load_best_model_at_end": True,
        "metric_for_best_model": HELD_OUT + name,
        "greater_is_better": direction == "higher",
        "save_strategy": "epoch" if output.eval_every is None else "steps",
        "save_steps": output.eval_every or 500,
        "save_total_limit": max(output.keep_checkpoints, 2),
    }


def choice_callbacks(config: TrainConfig) -> Iterator[TrainerCallback]:
    """What watches over the choice, and ends the run in time."""
    if config.choice.keep == "best":
        yield _BestCheckpoint()
    if config.choice.early_stopping is not None:
        yield _StopWithoutImprovement(config.choice.early_stopping)


def kept_checkpoint(config: TrainConfig, state: TrainerState) -> KeptCheckpoint | None:
    """The checkpoint whose weights the model has after training; None where it is the last step, chosen by nothing.

    Raises:
        SaveError: the best checkpoint is not there any more, so that the weights are others.
    """
    if config.choice.keep == "last" or state.best_global_step is None or state.best_metric is None:
        return None
    name, _ = config.choice.chosen_by(config.method)
    folder = Path(config.output.output) / f"checkpoint-{state.best_global_step}"
    if state.best_model_checkpoint is None or Path(state.best_model_checkpoint).name != folder.name:
        raise SaveError(
            f"{folder}: is not there, though step {state.best_global_step} was the best by {name}, so that its weights "
            "cannot be kept. Go on with --resume from the last checkpoint, or start anew with --overwrite."
        )
    values = (logs[HELD_OUT + name] for logs in state.log_history if logs["step"] == 0 and HELD_OUT + name in logs)
    return KeptCheckpoint(name, state.best_metric, next(values, None), state.best_global_step)


def check_within_budget(config: TrainConfig, state: TrainerState) -> None:
    """Make sure that there was something to choose from.

    Raises:
        TrainingError: no evaluation was within the KL budget, so that no checkpoint is what was asked for.
    """
    if not config.choice.needs_kl or state.best_global_step is not None:
        return
    name = HELD_OUT + SAMPLES_KL
    kls = [(logs[name], logs["step"]) for logs in state.log_history if name in logs]
    least, step = min((item for item in kls if item[1]), default=(None, None))
    if least is not None:
        raise TrainingError(
            f"kl_budget = {config.choice.kl_budget:g}: no evaluation was within it, so there is no best model. The "
            f"least KL was {least:.3g} nats, at step {step}. Lower learning_rate, raise beta, evaluate earlier with "
            f"eval_every, or raise the budget. The last checkpoints are in {config.output.output}."
        )


class _BestCheckpoint(TrainerCallback):
    """Sees that the metric is there from the first evaluation on, and that a moved folder still has its best."""

    @override
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.best_model_checkpoint is not None:
            assert args.output_dir is not None, "a run has a folder"
            state.best_model_checkpoint = str(Path(args.output_dir) / Path(state.best_model_checkpoint).name)

    @override
    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **_: Any
    ) -> None:
        assert args.metric_for_best_model is not None, "there is something to choose by"
        if args.metric_for_best_model not in metrics:
            found = ", ".join(name.removeprefix(HELD_OUT) for name in metrics if name.startswith(HELD_OUT))
            name = args.metric_for_best_model.removeprefix(HELD_OUT)
            raise ConfigError([f"metric = {name}: nothing measures it. Measured on held-out data: {found}."])


class _StopWithoutImprovement(EarlyStoppingCallback):
    """Early stopping that goes on counting in a resumed run, and leaves out the evaluation that a run begins with."""

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        super().on_train_begin(args, state, control, **kwargs)  # type: ignore[no-untyped-call]
        all_kept: Any = state.stateful_callbacks or {}
        kept = all_kept.get(type(self).__name__)
        name = "early_stopping_patience_counter"
        self.early_stopping_patience_counter = kept["attributes"][name] if state.global_step and kept else 0
        self._began_at = state.global_step

    @override
    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **kwargs: Any
    ) -> None:
        if state.global_step > self._began_at:
            super().on_evaluate(args, state, control, metrics, **kwargs)  # type: ignore[no-untyped-call]
