"""Trains on a row with NaN log-probs as two ranks, and writes the report of each rank."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from transformers import TrainingArguments

from preftune.losses import Method
from preftune.model.forward.packed import PackedForward
from preftune.model.reference.reference import FrozenCopy
from preftune.training.health.finding import SickRunError
from preftune.training.objective import Objective
from tests.builders import tiny_llama, token_groups
from tests.training.trainers import make_trainer
from tests.two_ranks import run_as_rank

WRAPPERS: dict[str, dict[str, Any]] = {"ddp": {}, "fsdp": {"fsdp": True, "fsdp_config": {}}}
"""Ways to share the work between ranks, as arguments of the trainer."""


def train_in_every_way(rank: int, folder: Path) -> None:
    """Write a file per way and rank."""
    for name, settings in WRAPPERS.items():
        try:
            _train(folder / name, **settings)
        except SickRunError as error:
            (folder / f"{name}-{rank}.json").write_text(json.dumps(error.finding.rows))


def _train(folder: Path, **settings: Any) -> None:
    torch.manual_seed(0)
    model = tiny_llama()
    arguments = TrainingArguments(
        str(folder),
        per_device_train_batch_size=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        **settings,
    )
    if arguments.fsdp:
        # Accelerate leaves FSDP out, without a word, where the ranks are called those of CPUs.
        PartialState().distributed_type = DistributedType.MULTI_GPU
    groups = token_groups(6, longest=30)
    heavy = tuple(np.full(len(completion), 3e38, np.float32) for completion in groups[2].completions)
    groups[2] = replace(groups[2], weights=heavy)
    trainer = make_trainer(
        model,
        arguments,
        objective=Objective(Method.named("dpo"), FrozenCopy(copy.deepcopy(model).eval()), PackedForward()),
        train_groups=groups,
        batch_size=6,
        max_tokens_per_microbatch=130,
        starts_at_reference=False,
    )
    trainer.train()


if __name__ == "__main__":
    run_as_rank(train_in_every_way)
