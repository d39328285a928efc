"""Trains a tiny model in float64 for some steps and saves its weights and losses: run alone, or by torchrun."""

import copy
import json
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from transformers import TrainingArguments

from preftune.losses import Method
from preftune.policy.sequences import SequencesForward
from preftune.reference import FrozenCopy
from preftune.training import Objective, PreferenceTrainer
from tests.builders import tiny_llama, token_groups


def main(folder: Path) -> None:
    """Five groups in steps of three: the ranks get uneven shares, and in the last step one group each."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = tiny_llama().double()
    trainer = PreferenceTrainer(
        model,
        TrainingArguments(
            str(folder),
            per_device_train_batch_size=1,
            learning_rate=1e-2,
            num_train_epochs=2,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            ddp_find_unused_parameters=False,
        ),
        objective=Objective(Method.named("dpo"), FrozenCopy(copy.deepcopy(model).eval()), SequencesForward()),
        train_groups=token_groups(5, longest=30),
        eval_groups=token_groups(3, seed=1),
        batch_size=3,
        max_tokens_per_microbatch=130,
        starts_at_reference=True,
    )
    trainer.train()
    metrics = trainer.evaluate()
    if trainer.is_world_process_zero():
        torch.save(model.state_dict(), folder / "weights.pt")
        logs = [log for log in trainer.state.log_history if "loss" in log]
        names = ("loss", "rewards/margins", "logps/chosen", "num_tokens")
        kept = [{name: log[name] for name in names} for log in logs]
        (folder / "logs.json").write_text(json.dumps([*kept, {"eval_loss": metrics["eval_loss"]}]))
    PartialState().wait_for_everyone()
    PartialState().destroy_process_group()  # else gloo's threads may abort the process at its end


if __name__ == "__main__":
    main(Path(sys.argv[1]))
