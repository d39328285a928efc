"""`TrainingArguments` of transformers, out of the settings of a run."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from preftune.model.forward.arithmetic import Arithmetic
from preftune.runs.checkpoints import choice_arguments
from preftune.settings import ModelSettings, OptimizerSettings, TrainConfig


def training_arguments(config: TrainConfig) -> TrainingArguments:
    """The arguments of a run. The dataloader yields whole steps, so they hold no batch size.

    Raises:
        ConfigError: the machine cannot do the precision that is asked for.
    """
    output = config.output
    evaluates = config.data.holds_out
    arithmetic = Arithmetic.of(config.model)
    return TrainingArguments(
        output_dir=output.output,
        use_cpu=arithmetic.device.type == "cpu",
        bf16=arithmetic.autocast == torch.bfloat16,
        fp16=arithmetic.autocast == torch.float16,
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=1,
        learning_rate=config.learning_rate,
        num_train_epochs=config.steps.epochs,
        max_steps=config.steps.max_steps or -1,
        seed=config.steps.seed,
        eval_strategy=_when(output.eval_every) if evaluates else "no",
        eval_steps=output.eval_every,
        eval_on_start=evaluates,
        **_saving(config),
        logging_steps=output.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        report_to=output.report_to,
        run_name=output.run_name or Path(output.output).name,
        disable_tqdm=True,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        **_optimizer(config.optimizer),
        **_checkpointing(config.model),
    )


def checkpointing_argument() -> str:
    """Name of the switch for recomputing activations: transformers renamed it within the versions supported."""
    names = {item.name for item in fields(TrainingArguments)}
    return "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"


def _saving(config: TrainConfig) -> dict[str, Any]:
    output = config.output
    return {
        "save_strategy": _when(output.save_every),
        "save_steps": output.save_every or 500,
        "save_total_limit": output.keep_checkpoints,
        **choice_arguments(config),
    }


def _when(every: int | None) -> str:
    return "epoch" if every is None else "steps"


def _optimizer(settings: OptimizerSettings) -> dict[str, Any]:
    is_constant = settings.schedule == "constant"
    return {
        "optim": settings.optimizer,
        "lr_scheduler_type": "constant_with_warmup" if is_constant else settings.schedule,
        "warmup_steps": settings.warmup,
        "weight_decay": settings.weight_decay,
        "adam_beta1": settings.adam_beta1,
        "adam_beta2": settings.adam_beta2,
        "adam_epsilon": settings.adam_epsilon,
        "max_grad_norm": settings.max_grad_norm,
    }


def _checkpointing(settings: ModelSettings) -> dict[str, Any]:
    return {checkpointing_argument(): settings.gradient_checkpointing}
