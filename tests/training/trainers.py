"""Trainers on tokenized groups."""

from collections.abc import Sequence
from typing import Any

from transformers import TrainingArguments

from preftune.data.tokens.token_group import TokenGroup
from preftune.training.objective import Objective
from preftune.training.steps import Batching, StepDataset
from preftune.training.trainer import PreferenceTrainer


def make_trainer(
    model: Any,
    args: TrainingArguments,
    *,
    objective: Objective,
    train_groups: Sequence[TokenGroup],
    eval_groups: Sequence[TokenGroup] | None = None,
    batch_size: int,
    max_tokens_per_microbatch: int,
    **further: Any,
) -> PreferenceTrainer:
    batching = Batching.of(
        model, args, objective.forward.layout, batch_size=batch_size, max_tokens=max_tokens_per_microbatch
    )
    return PreferenceTrainer(
        model,
        args,
        objective=objective,
        train_steps=StepDataset(train_groups, objective.method, batching),
        eval_steps=StepDataset(eval_groups, objective.method, batching) if eval_groups else None,
        **further,
    )
