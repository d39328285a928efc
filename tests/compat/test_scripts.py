"""The calls of TRL's example scripts for DPO, KTO and SFT, in their order, with the import changed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transformers.trainer
from datasets import Dataset, DatasetDict
from transformers import HfArgumentParser

from preftune import DPOTrainer, KTOTrainer, SFTTrainer
from preftune.compat.tuning_trainer import TuningTrainer
from tests.compat.runs import TOKENIZER, lora, make_demonstrations, make_model, make_rows, make_thumbs

ROWS = {DPOTrainer: make_rows, KTOTrainer: make_thumbs, SFTTrainer: make_demonstrations}


@pytest.mark.parametrize("with_adapter", [False, True], ids=["", "adapter"])
@pytest.mark.parametrize("kind", ROWS, ids=lambda kind: kind.__name__)
def test_the_calls_of_an_example_script_end_with_a_pushed_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[TuningTrainer], with_adapter: bool
) -> None:
    pushed: list[str] = []
    hub = SimpleNamespace(
        create_repo=lambda name, **_: SimpleNamespace(repo_id=f"me/{name}"),
        upload_folder=lambda **given: pushed.append(given["repo_id"]),
    )
    monkeypatch.setattr(transformers.trainer, "hf_api", lambda: hub)
    make_model().save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    make = ROWS[kind]
    dataset = DatasetDict(train=Dataset.from_list(make(8)), test=Dataset.from_list(make(4, seed=1)))

    config: Any = kind.config_class
    parser: Any = HfArgumentParser((config,))
    words = f"--output_dir {tmp_path}/out --per_device_train_batch_size 2 --gradient_accumulation_steps 2 --max_steps 2"
    words += " --learning_rate 1e-3 --eval_strategy steps --eval_steps 1 --logging_steps 1 --report_to none --use_cpu"
    (training_args,) = parser.parse_args_into_dataclasses(words.split())
    training_args.model_init_kwargs = {"revision": "main", "attn_implementation": None, "dtype": "float32"}
    trainer: Any = kind(
        model=str(tmp_path / "model"),
        args=training_args,
        train_dataset=dataset["train"],
        eval_dataset=dataset["test"] if training_args.eval_strategy != "no" else None,
        quantization_config=None,
        peft_config=lora() if with_adapter else None,
    )
    trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
    trainer.accelerator.print("Training completed.")
    metrics = trainer.evaluate()
    trainer.log_metrics("eval", metrics)
    trainer.save_metrics("eval", metrics)
    trainer.save_model(training_args.output_dir)
    trainer.push_to_hub(dataset_name="me/rows")
    trainer.end()

    assert [log["eval_loss"] for log in trainer.state.log_history if "eval_loss" in log][-1] == metrics["eval_loss"]
    assert pushed == [trainer.hub_model_id] == ["me/out"]
    weights = "adapter_model.safetensors" if with_adapter else "model.safetensors"
    assert {weights, "README.md", "tokenizer.json", "eval_results.json"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    assert "datasets: " in (tmp_path / "out/README.md").read_text()
