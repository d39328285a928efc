import json
import math
import os
import re
import signal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from rich.console import Console
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from preftune.errors import (
    ConfigError,
    ModelError,
    SaveError,
    TokenizerError,
    TrainingError,
)
from preftune.runs import run as run_module
from preftune.runs.logs import read_logs
from preftune.runs.progress import ProgressDisplay
from preftune.runs.result import RunResult
from preftune.runs.run import train
from preftune.settings import TrainConfig
from preftune.training.steps import Step
from preftune.training.trainer import PreferenceTrainer
from tests.runs.inputs import config_of, history, write_model


def test_sft_then_dpo_gives_a_model_that_plain_transformers_loads(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    sft = train(config_of(model_folder, pairs_file, tmp_path / "sft", method="sft", epochs=4, learning_rate=1e-2))
    assert sft.train["loss"].last < history(Path(sft.folder))[0]
    config = config_of(
        tmp_path / "sft", pairs_file, tmp_path / "dpo", epochs=6, learning_rate=1e-2, eval_fraction=0.2, seed=1
    )
    dpo = train(config)
    assert abs(history(Path(dpo.folder))[0] - math.log(2)) < 1e-6
    assert dpo.train["loss"].last < history(Path(dpo.folder))[0]
    assert dpo.train["rewards/accuracies"].last > 0.5
    assert dpo.held_out["loss"].first == pytest.approx(math.log(2))
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "dpo")
    assert model.config.use_cache is not False
    assert AutoTokenizer.from_pretrained(tmp_path / "dpo").eos_token_id == model.config.eos_token_id


def test_the_folder_records_the_settings_and_the_outcome(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = train(config_of(model_folder, pairs_file, folder, method="sft", epochs=1))
    record = json.loads((folder / "run.json").read_text())
    assert record["versions"]["torch"] == version("torch")
    assert {"git", "command", "python", "started"} <= record.keys()
    summary = json.loads((folder / "summary.json").read_text())
    losses = history(folder)  # of 3 steps: the window is one step
    assert summary["train"]["loss"]["last"] == losses[-1] == result.train["loss"].last
    assert summary["verdict"]["outcome"] == "unknown"
    assert summary["data"]["train"]["num_prompts"] == 12
    assert result.peak_memory_bytes > 2**20
    peaks = history(folder, "peak_memory_gib")
    assert len(peaks) == len(history(folder))
    assert sorted(peaks) == peaks
    assert peaks[-1] == pytest.approx(result.peak_memory_bytes / 2**30, rel=0.1)


def test_the_written_config_repeats_the_run(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    train(config_of(model_folder, pairs_file, tmp_path / "a", beta=0.3, learning_rate=1e-2))
    train(TrainConfig.read(tmp_path / "a" / "config.yaml", output=str(tmp_path / "b")))
    assert history(tmp_path / "a") == history(tmp_path / "b")


@pytest.mark.parametrize(
    "settings", [{"precision": "bf16"}, {"weights_dtype": "bfloat16"}], ids=["autocast", "weights"]
)
def test_bfloat16_learns_as_well_with_recomputed_activations(
    model_folder: Path, pairs_file: Path, tmp_path: Path, settings: dict[str, str]
) -> None:
    config = config_of(
        model_folder, pairs_file, tmp_path / "run", learning_rate=1e-2, gradient_checkpointing=True, **settings
    )
    result = train(config)
    assert abs(history(Path(result.folder))[0] - math.log(2)) < 1e-2
    assert result.train["loss"].last < 0.9 * history(Path(result.folder))[0]


def test_an_adapter_starts_at_its_reference_and_only_it_is_saved(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    result = train(config_of(model_folder, pairs_file, tmp_path / "a", lora=True, lora_rank=4, learning_rate=1e-2))
    assert abs(history(Path(result.folder))[0] - math.log(2)) < 1e-6
    assert result.train["loss"].last < history(Path(result.folder))[0]
    assert (tmp_path / "a" / "adapter_config.json").is_file()
    assert not (tmp_path / "a" / "model.safetensors").exists()


def test_a_continued_adapter_has_itself_as_it_was_as_the_reference(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    train(config_of(model_folder, pairs_file, tmp_path / "sft", method="sft", lora=True, learning_rate=1e-1))
    result = train(config_of(tmp_path / "sft", pairs_file, tmp_path / "dpo", lora=True, learning_rate=1e-2))
    assert abs(history(Path(result.folder))[0] - math.log(2)) < 1e-6
    base = AutoModelForCausalLM.from_pretrained(model_folder)
    found = PeftModel.from_pretrained(base, tmp_path / "dpo")
    assert list(found.peft_config) == ["default"]
    assert sorted(path.name for path in (tmp_path / "dpo").iterdir() if path.is_dir()) == ["checkpoint-6"]


def test_full_training_of_an_adapter_folder_begins_from_the_merged_weights(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    train(config_of(model_folder, pairs_file, tmp_path / "sft", method="sft", lora=True, learning_rate=1e-1))
    result = train(config_of(tmp_path / "sft", pairs_file, tmp_path / "dpo"))
    assert abs(history(Path(result.folder))[0] - math.log(2)) < 1e-6
    assert (tmp_path / "dpo" / "model.safetensors").is_file()


def test_another_reference_model_may_have_another_shape(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other", hidden_size=32)
    result = train(config_of(model_folder, pairs_file, tmp_path / "run", reference_model=str(other)))
    assert abs(history(Path(result.folder))[0] - math.log(2)) > 1e-3


def test_a_reference_model_with_a_smaller_vocabulary_is_refused(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    other = write_model(tmp_path / "other")
    model = AutoModelForCausalLM.from_pretrained(other)
    model.resize_token_embeddings(10)
    model.save_pretrained(other)
    with pytest.raises(ModelError, match="does not share the policy's tokenizer"):
        train(config_of(model_folder, pairs_file, tmp_path / "run", reference_model=str(other)))


def test_a_vocabulary_larger_than_the_embedding_is_refused(pairs_file: Path, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "small")
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(20)
    model.save_pretrained(folder)
    with pytest.raises(TokenizerError, match="whose embedding has 20 rows"):
        train(config_of(folder, pairs_file, tmp_path / "run"))


def test_a_folder_without_a_tokenizer_is_refused(pairs_file: Path, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "bare")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(TokenizerError, match="no tokenizer could be loaded"):
        train(config_of(folder, pairs_file, tmp_path / "run"))


def test_a_folder_without_a_model_is_refused(pairs_file: Path, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "bare")
    (folder / "config.json").unlink()
    with pytest.raises((ModelError, TokenizerError), match=r"model = .*bare: no .* could be loaded"):
        train(config_of(folder, pairs_file, tmp_path / "run"))


def test_max_length_beyond_the_models_positions_is_refused(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="max_length = 257: the model has positions for 256 tokens"):
        train(config_of(model_folder, pairs_file, tmp_path / "run", max_length=257))


def test_a_budget_below_the_biggest_group_is_refused_with_the_budget_it_needs(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"max_tokens_per_microbatch = 9: 12 of 12 prompts need more.* or more"):
        train(config_of(model_folder, pairs_file, tmp_path / "run", max_tokens_per_microbatch=9))


def test_the_measured_budget_gives_the_run_that_the_same_number_gives(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("preftune.runs.memory_budget._MOST_ON_CPU", 90)  # so that steps are cut
    with (tmp_path / "log").open("w") as log:
        console = Console(record=True, width=200, file=log)
        settings: dict[str, Any] = {"learning_rate": 1e-2, "dropout": True, "chat": "off"}
        train(
            config_of(model_folder, pairs_file, tmp_path / "a", max_tokens_per_microbatch="auto", **settings),
            console=console,
        )
    train(config_of(model_folder, pairs_file, tmp_path / "b", max_tokens_per_microbatch=90, **settings))
    assert history(tmp_path / "a") == history(tmp_path / "b")
    text = console.export_text()
    assert re.search(r"max_tokens_per_microbatch: 90 \(auto: .* a token, .* free; more is not faster on a CPU\)", text)
    assert re.search(r"plan: 3 steps .* 2\.0 micro-batches each; .* no padding; about .* s a step", text)
    assert re.search(r"pace: about .* s a step, .* s for the 4 steps left", text)


@pytest.mark.parametrize("budget", ["auto", 8192])
def test_a_run_without_enough_memory_ends_with_what_to_do_unless_its_budget_may_be_halved(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: str | int
) -> None:
    whole, failed = PreferenceTrainer._learn, list[Step]()

    def fail_once(self: PreferenceTrainer, model: Any, step: Step) -> torch.Tensor:
        if not failed:
            failed.append(step)
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(self, model, step)

    monkeypatch.setattr(PreferenceTrainer, "_learn", fail_once)
    config = config_of(model_folder, pairs_file, tmp_path / "run", max_tokens_per_microbatch=budget)
    if budget == "auto":
        assert train(config).num_steps == 6
    else:
        with pytest.raises(TrainingError, match="Lower max_tokens_per_microbatch"):
            train(config)


class Interrupt(ProgressDisplay):
    """Sends this process a signal in a step, as Ctrl-C or a scheduler would."""

    def __init__(self, step: int, number: int) -> None:
        super().__init__(Console(quiet=True))
        self.step, self.number = step, number

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_a_checkpoint_from_which_the_run_continues_exactly(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    whole = tmp_path / "whole"
    train(config_of(model_folder, pairs_file, whole, learning_rate=1e-2))
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "ProgressDisplay", lambda _: Interrupt(2, number))
        stopped = train(config_of(model_folder, pairs_file, tmp_path / "run", learning_rate=1e-2))
    assert stopped.stopped_early
    assert stopped.num_steps == 3
    assert not (tmp_path / "run" / "model.safetensors").exists()
    resumed = train(config_of(model_folder, pairs_file, tmp_path / "run", learning_rate=1e-2, resume=True))
    assert not resumed.stopped_early
    assert history(tmp_path / "run") == history(whole)
    weights = [AutoModelForCausalLM.from_pretrained(path).lm_head.weight for path in (whole, tmp_path / "run")]
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)


class InterruptEvaluation(ProgressDisplay):
    """Sends this process Ctrl-C in the evaluation after a step."""

    def __init__(self, step: int) -> None:
        super().__init__(Console(quiet=True))
        self.step = step

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            self.step = -1  # once: the evaluation may take several
            os.kill(os.getpid(), signal.SIGINT)


def interrupted(step: int, model: Path, pairs: Path, folder: Path, **settings: Any) -> RunResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "ProgressDisplay", lambda _: InterruptEvaluation(step))
        return train(config_of(model, pairs, folder, eval_data=str(pairs), **settings))


def evaluated_steps(folder: Path) -> list[int]:
    return [log["step"] for log in read_logs(folder / "metrics.jsonl") if "eval_loss" in log]


def test_an_evaluation_under_way_is_finished_and_no_step_follows(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    stopped = interrupted(2, model_folder, pairs_file, tmp_path / "run", eval_every=2)
    assert (stopped.stopped_early, stopped.num_steps) == (True, 2)
    assert evaluated_steps(tmp_path / "run") == [0, 2]
    assert (tmp_path / "run" / "checkpoint-2").is_dir()


def test_before_the_first_step_a_run_stops_at_once(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupted(0, model_folder, pairs_file, tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("settings", [{}, {"eval_every": 3}])
def test_no_evaluation_follows_a_signal_and_a_resumed_run_makes_up_for_it(
    model_folder: Path, pairs_file: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    shared = {"eval_data": str(pairs_file), **settings}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "ProgressDisplay", lambda _: Interrupt(2, signal.SIGINT))
        train(config_of(model_folder, pairs_file, tmp_path / "run", **shared))
    assert evaluated_steps(tmp_path / "run") == [0]
    assert (tmp_path / "run" / "checkpoint-3").is_dir()
    train(config_of(model_folder, pairs_file, tmp_path / "run", resume=True, **shared))
    assert evaluated_steps(tmp_path / "run")[:2] == [0, 3]


def test_resuming_with_other_settings_is_refused_naming_them(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    train(config_of(model_folder, pairs_file, tmp_path / "run", epochs=1))
    with pytest.raises(ConfigError, match=r"beta = 0\.2: the run began with 0\.1"):
        train(config_of(model_folder, pairs_file, tmp_path / "run", epochs=1, beta=0.2, resume=True))


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        # What torch.save was seen to say on a full tmpfs.
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 25242560 vs 25242448"),
    ],
    ids=["python", "safetensors", "torch"],
)
def test_a_full_disk_keeps_the_last_good_checkpoint_and_says_so(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    from transformers import PreTrainedModel

    whole = PreTrainedModel.save_pretrained

    def fills_up(self: PreTrainedModel, folder: str, **kwargs: Any) -> None:
        whole(self, folder, **kwargs)
        if "checkpoint-4" in str(folder):
            raise error

    monkeypatch.setattr(PreTrainedModel, "save_pretrained", fills_up)
    with pytest.raises(SaveError, match=r"disk is full.*last good checkpoint is .*checkpoint-2.*--resume"):
        train(config_of(model_folder, pairs_file, tmp_path / "run", save_every=2))
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-2"]
    monkeypatch.undo()
    resumed = train(config_of(model_folder, pairs_file, tmp_path / "run", save_every=2, resume=True))
    assert resumed.num_steps == 6


def test_a_checkpoint_torn_by_a_kill_is_not_resumed_from(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(config_of(model_folder, pairs_file, folder, save_every=3, keep_checkpoints=5))
    (folder / "checkpoint-6" / "trainer_state.json").unlink()
    (folder / "summary.json").unlink()
    console = Console(record=True, width=200, quiet=False, file=(tmp_path / "log").open("w"))
    train(config_of(model_folder, pairs_file, folder, save_every=3, keep_checkpoints=5, resume=True), console=console)
    assert "resuming from checkpoint-3" in console.export_text()
    console.file.close()


def test_the_console_shows_data_steps_and_held_out_results(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    with (tmp_path / "log").open("w") as log:
        console = Console(record=True, width=200, file=log)
        result = train(
            config_of(model_folder, pairs_file, tmp_path / "run", eval_fraction=0.25, max_length=14), console=console
        )
        console.print(result.table())
    text = console.export_text()
    for part in (
        "train: ",
        "too long",
        "plan: ",
        "steps in all, which rarely teach much. --epochs ",
        "no padding",
        "pace: about ",
        "step     1  loss 0.6931",
        "held out    loss 0.6931",
        "peak memory",
        "best",
    ):
        assert part in text
