"""Odd values that a config accepts: a run with them starts, or ends in an error of ours before its first step."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from preftune.errors import PreftuneError
from preftune.runs.run import train
from preftune.training.trainer import PreferenceTrainer
from tests.runs.inputs import config_of

ODD: Mapping[str, list[dict[str, Any]]] = {
    "steps": [
        *({"epochs": 1e6}, {"epochs": 1e-300}, {"seed": 2**32 - 1}, {"max_steps": 2**31 - 1}),
        *({"batch_size": 2**31 - 1}, {"max_tokens_per_microbatch": 2**31 - 1}, {"max_length": 2**31 - 1}),
    ],
    "optimizer": [
        *({"learning_rate": 1e30}, {"warmup": 1e30}, {"adam_epsilon": 1e30}, {"weight_decay": 1e30}),
        *({"max_grad_norm": float("inf")}, {"optimizer": "sgd"}, {"schedule": "inverse_sqrt"}, {"beta": 1e30}),
    ],
    "adapter": [
        *({"lora": True, "lora_targets": "nope"}, {"lora": True, "lora_targets": ["[/b]\x1b[31m"]}),
        *(
            {"lora": True, "lora_alpha": 2**31 - 1},
            {"lora": True, "lora_rank": 300},
            {"lora": True, "lora_targets": ""},
        ),
    ],
    "names": [
        *(
            {"attention": "nope"},
            {"attention": ""},
            {"run_name": "[/b]\n\x1b[31m"},
            {"format": "nope"},
            {"split": "nope"},
        ),
        *({"chat_template": ""}, {"reference_model": ""}, {"reference_model": "nope"}, {"eval_data": "nope"}),
        *({"columns": {"chosen": "nope"}}, {"where": "nope=1"}, {"chat_template_kwargs": {"a": 1}}, {"mix": 1e30}),
    ],
    "output": [
        *({"log_every": 2**31 - 1}, {"save_every": 2**31 - 1}, {"keep_checkpoints": 2**31 - 1}),
        *({"eval_fraction": 1e-300}, {"eval_fraction": 0.999}, {"min_score_gap": 1e30}, {"max_per_prompt": 2**31 - 1}),
    ],
}


class Started(Exception):  # noqa: N818 - no error
    pass


@pytest.mark.parametrize("topic", ODD)
def test_an_accepted_odd_value_starts_a_run_or_is_an_error_of_ours(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, topic: str
) -> None:
    def start(trainer: PreferenceTrainer, *_: object, **__: object) -> NoReturn:
        trainer.create_optimizer_and_scheduler(num_training_steps=3)
        raise Started

    monkeypatch.setattr(PreferenceTrainer, "train", start)
    ends = set()
    for number, settings in enumerate(ODD[topic]):
        output = tmp_path / f"run{number}"
        with pytest.raises((Started, PreftuneError)) as caught:
            train(config_of(model_folder, pairs_file, output, check_data=False, **settings), quiet=True)
        ends.add(caught.type)
    assert Started in ends
