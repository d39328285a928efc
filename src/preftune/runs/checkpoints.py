"""Checkpoints of a run: choosing the best one, and saving models without damage to earlier ones."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import (
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from typing_extensions import override

from preftune.errors import ConfigError, PreftuneError, SaveError, TrainingError
from preftune.files.exhausted import exhausted
from preftune.metrics.catalogue import HELD_OUT, SAMPLES_KL
from preftune.runs.folder import RunFolder
from preftune.runs.result import KeptCheckpoint
from preftune.settings import TrainConfig


def choice_arguments(config: TrainConfig) -> dict[str, Any]:
    """Arguments of `TrainingArguments` that make the trainer keep the best checkpoint; empty for the last one.

    Only a saved checkpoint can be the best one, so each evaluation saves one. At least two stay on disk: the best one,
    and the last one, from which a stopped run resumes.
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
    """Callbacks that check the choice and stop the run early."""
    if config.choice.keep == "best":
        yield _BestCheckpoint()
    if config.choice.early_stopping is not None:
        yield _StopWithoutImprovement(config.choice.early_stopping)


def kept_checkpoint(config: TrainConfig, state: TrainerState) -> KeptCheckpoint | None:
    """The checkpoint that the model's weights come from; None if it is the last step.

    Raises:
        SaveError: the best checkpoint was deleted, so the model holds other weights.
    """
    if config.choice.keep == "last" or state.best_global_step is None or state.best_metric is None:
        return None
    name, _ = config.choice.chosen_by(config.method)
    folder = Path(config.output.output) / f"checkpoint-{state.best_global_step}"
    if state.best_model_checkpoint is None or Path(state.best_model_checkpoint).name != folder.name:
        raise SaveError(
            f"{folder}: does not exist, but step {state.best_global_step} was the best by {name}, so its weights "
            "cannot be kept. Continue with --resume from the last checkpoint, or start over with --overwrite."
        )
    values = (logs[HELD_OUT + name] for logs in state.log_history if logs["step"] == 0 and HELD_OUT + name in logs)
    return KeptCheckpoint(name, state.best_metric, next(values, None), state.best_global_step)


def check_within_budget(config: TrainConfig, state: TrainerState) -> None:
    """Check that at least one evaluation was within the KL budget.

    Raises:
        TrainingError: none was, so no checkpoint qualifies.
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
    """Checks that the first evaluation logs the metric, and finds the best checkpoint of a moved folder."""

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
            raise ConfigError(
                [f"metric = {name}: nothing measures it. Set metric to one that is measured on held-out data: {found}."]
            )


class _StopWithoutImprovement(EarlyStoppingCallback):
    """Early stopping that keeps its count in a resumed run and ignores the evaluation before the first step."""

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        super().on_train_begin(args, state, control, **kwargs)  # type: ignore[no-untyped-call]
        all_kept: Any = state.stateful_callbacks or {}
        kept = all_kept.get(type(self).__name__)
        name = "early_stopping_patience_counter"
        self.early_stopping_patience_counter = kept["attributes"][name] if state.global_step and kept else 0
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True  # by the evaluation of this checkpoint, before the run was interrupted

    @override
    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: Any = None, **kwargs: Any
    ) -> None:
        if state.global_step > 0:
            super().on_evaluate(args, state, control, metrics, **kwargs)  # type: ignore[no-untyped-call]


_FULL_WHILE_SAVING = "inline_container.cc"
"""Place in torch.save (C++) that fails on a full disk, and gives no errno."""


@contextmanager
def guarded_saves(folder: RunFolder) -> Iterator[None]:
    """Remove incomplete checkpoints when the run ends for any reason; complete ones stay.

    Raises:
        SaveError: the disk is full.
    """
    try:
        yield
    except BaseException as error:
        if PartialState().is_main_process:  # another one may be writing a checkpoint, if this rank alone has failed
            folder.remove_torn_checkpoints()
        if isinstance(error, PreftuneError) or not _is_full_disk(error):
            raise
        last = folder.last_checkpoint()
        good = f"The last good checkpoint is {last}." if last else "No checkpoint was complete."
        raise SaveError(
            f"{folder.path}: the disk is full, so the model could not be saved. {good} Free some space and continue "
            "with --resume."
        ) from error


def save_model(trainer: Trainer, folder: RunFolder) -> None:
    """Write model and tokenizer into a hidden folder, then move file by file into the run folder.

    Only the first process makes, moves and removes files; the others wait for it.

    Raises:
        SaveError: a folder stands where a file of the model belongs.
    """
    partial = folder.path / ".model.partial"
    writes = trainer.is_world_process_zero()
    if writes:
        shutil.rmtree(partial, ignore_errors=True)
    try:
        trainer.save_model(str(partial))
        if writes:
            for file in sorted(partial.iterdir()):
                file.replace(folder.path / file.name)
    except (IsADirectoryError, NotADirectoryError) as error:
        raise SaveError(
            f"{error.filename2 or error.filename}: is in the way of the model ({error.strerror}). Remove it, and "
            "continue with --resume."
        ) from error
    finally:
        if writes:
            shutil.rmtree(partial, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()


def _is_full_disk(error: BaseException) -> bool:
    return exhausted(error) == "disk" or _FULL_WHILE_SAVING in str(error)
