import copy
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import TrainerControl, TrainerState, TrainingArguments

from preftune.errors import ConfigError, ModelError, OutputError, SaveError
from preftune.model.load.load_model import keep_adapter
from preftune.model.reference.reference import FrozenCopy, KeptAdapter
from preftune.model.reference.store import store_path
from preftune.runs.manifest import write_manifest
from preftune.runs.run import train
from preftune.settings import TrainConfig
from preftune.training.reference_sync import ReferenceSync
from tests.builders import tiny_llama
from tests.runs.inputs import config_of, history, write_model

LN_2 = math.log(2)
KINDS = pytest.mark.parametrize("kind", [{}, {"lora": True, "lora_rank": 2}], ids=["weights", "adapter"])


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def adapted() -> PeftModel:
    """A model whose trained adapter has moved away from the one that is kept."""
    model = get_peft_model(tiny_llama(), LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert isinstance(model, PeftModel)
    assert keep_adapter(model) == KeptAdapter("default", "reference")
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(torch.randn_like(weight))
    return model


# --- one move -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mix", [0.25, 1.0])
def test_a_move_mixes_all_weights_and_leaves_the_policy(mix: float) -> None:
    policy, reference = tiny_llama(), tiny_llama()
    before, trained = weights(reference), weights(policy)
    ReferenceSync(FrozenCopy(reference), mix=mix, every=1).move(policy)
    for name, weight in weights(reference).items():
        torch.testing.assert_close(weight, mix * trained[name] + (1 - mix) * before[name])
        assert mix < 1 or torch.equal(weight, trained[name])
    assert all(torch.equal(weight, trained[name]) for name, weight in weights(policy).items())


def test_tied_weights_move_once() -> None:
    policy, reference = tiny_llama(tie_word_embeddings=True), tiny_llama(tie_word_embeddings=True)
    expected = (reference.lm_head.weight + policy.lm_head.weight) / 2
    ReferenceSync(FrozenCopy(reference), mix=0.5, every=1).move(policy)
    torch.testing.assert_close(reference.get_input_embeddings().weight, expected)
    assert reference.lm_head.weight is reference.get_input_embeddings().weight


def test_a_reference_in_bfloat16_is_mixed_in_float32_and_rounded_once() -> None:
    policy, reference = tiny_llama(), tiny_llama().bfloat16()
    before = reference.lm_head.weight.detach().clone()
    ReferenceSync(FrozenCopy(reference), mix=0.25, every=1).move(policy)
    exact = torch.lerp(before.float(), policy.lm_head.weight, 0.25)
    assert reference.lm_head.weight.dtype == torch.bfloat16
    assert torch.equal(reference.lm_head.weight, exact.bfloat16())


def test_buffers_that_are_saved_are_copied_whole() -> None:
    policy, reference = tiny_llama(), tiny_llama()
    policy.register_buffer("count", torch.tensor([4]))
    reference.register_buffer("count", torch.tensor([1]))
    ReferenceSync(FrozenCopy(reference), mix=0.25, every=1).move(policy)
    assert reference.get_buffer("count").tolist() == [4]


@pytest.mark.parametrize("mix", [0.25, 1.0])
def test_a_move_of_an_adapter_mixes_only_its_parameters(mix: float) -> None:
    model = adapted()
    before = weights(model)
    ReferenceSync(KeptAdapter("default", "reference"), mix=mix, every=1).move(model)
    num_mixed = 0
    for name, weight in weights(model).items():
        if ".reference." in name:
            trained = before[name.replace(".reference.", ".default.")]
            torch.testing.assert_close(weight, mix * trained + (1 - mix) * before[name])
            assert not torch.equal(weight, before[name])
            num_mixed += 1
        else:
            assert torch.equal(weight, before[name]), name
    assert num_mixed == 28  # two factors for each of seven layers in each of two blocks


# --- whole runs ---------------------------------------------------------------------------------------------------


@KINDS
def test_after_each_hard_move_the_loss_is_that_of_a_policy_at_its_reference(
    kind: dict[str, Any], model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    settings = {"reference_sync": "hard", "reference_sync_every": 2, "learning_rate": 1e-2, "warmup": 0}
    train(config_of(model_folder, pairs_file, tmp_path / "run", **settings, **kind))
    losses = history(tmp_path / "run")
    assert len(losses) == 6
    at_reference = [abs(loss - LN_2) < 1e-6 for loss in losses]
    assert at_reference == [True, False, True, False, True, False]


def test_a_soft_move_goes_a_share_of_the_way(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {"learning_rate": 1e-2, "max_steps": 3, "warmup": 0}
    for name, settings in {
        "off": {},
        "soft": {"reference_sync": "soft", "reference_sync_every": 1, "reference_sync_mix": 0.5},
    }.items():
        train(config_of(model_folder, pairs_file, tmp_path / name, **common, **settings))
    margins = {name: history(tmp_path / name, "rewards/margins")[2] for name in ("off", "soft")}
    assert 0 < margins["soft"] < margins["off"]


@KINDS
def test_a_resumed_run_equals_an_uninterrupted_one(
    kind: dict[str, Any], model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    config = sync_config(model_folder, pairs_file, tmp_path / "run", **kind)
    train(config)
    whole = load_file(next((tmp_path / "run").glob("*model.safetensors")))
    losses = history(tmp_path / "run")
    stop_after_step_4(tmp_path / "run")
    train(sync_config(model_folder, pairs_file, tmp_path / "run", resume=True, **kind))
    resumed = load_file(next((tmp_path / "run").glob("*model.safetensors")))
    assert history(tmp_path / "run") == losses
    assert all(torch.equal(weight, whole[name]) for name, weight in resumed.items())
    assert whole.keys() == resumed.keys()


def sync_config(model: Path, data: Path, output: Path, **settings: Any) -> TrainConfig:
    """Six steps, moves after the third and the sixth, checkpoints after the second, fourth and sixth."""
    sync = {"reference_sync": "soft", "reference_sync_every": 3, "reference_sync_mix": 0.7}
    return config_of(
        model, data, output, **sync, save_every=2, learning_rate=1e-2, **{"keep_checkpoints": 5, **settings}
    )


def stop_after_step_4(folder: Path) -> None:
    shutil.rmtree(folder / "checkpoint-6")
    (folder / "summary.json").unlink()


@KINDS
def test_the_reference_is_in_checkpoints_and_not_in_the_final_model(
    kind: dict[str, Any], model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    train(sync_config(model_folder, pairs_file, tmp_path / "run", **kind))
    for step in (2, 4, 6):
        assert list((tmp_path / "run" / f"checkpoint-{step}").glob("reference*")), step
    assert not list((tmp_path / "run").glob("reference*"))


@KINDS
def test_a_checkpoint_without_the_reference_is_not_resumed_from(
    kind: dict[str, Any], model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    train(sync_config(model_folder, pairs_file, tmp_path / "run", **kind))
    stop_after_step_4(tmp_path / "run")
    (kept,) = (tmp_path / "run" / "checkpoint-4").glob("reference*")
    remove: Callable[[Path], None] = shutil.rmtree if kept.is_dir() else Path.unlink
    remove(kept)
    write_manifest(kept.parent)  # which would have noticed
    with pytest.raises(OutputError, match=r"reference.*: does not exist.*Delete .*checkpoint-4 to resume"):
        train(sync_config(model_folder, pairs_file, tmp_path / "run", resume=True, **kind))
    shutil.rmtree(tmp_path / "run" / "checkpoint-4")
    train(sync_config(model_folder, pairs_file, tmp_path / "run", resume=True, **kind))


def test_a_disk_that_fills_up_with_the_reference_keeps_the_last_good_checkpoint(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fills_up(found: dict[str, Tensor], path: Path) -> None:
        if "checkpoint-4" in str(path):
            raise OSError(28, "No space left on device")
        save_file(found, path)

    monkeypatch.setattr("preftune.training.reference_sync.save_file", fills_up)
    with pytest.raises(SaveError, match=r"last good checkpoint is .*checkpoint-2"):
        train(sync_config(model_folder, pairs_file, tmp_path / "run", keep_checkpoints=1))


def test_reference_log_probs_are_not_kept_for_a_reference_that_moves(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    with (tmp_path / "log").open("w") as log:
        console = Console(record=True, width=200, file=log)
        train(config_of(model_folder, pairs_file, tmp_path / "run", reference_sync="hard"), console=console)
    assert "reference: stays in memory, as it moves with the policy" in console.export_text()
    assert not store_path().exists()


# --- another model as the reference -------------------------------------------------------------------------------


def test_another_model_of_the_same_shape_can_move(model_folder: Path, pairs_file: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    other = write_model(tmp_path / "other")
    settings = {"reference_model": str(other), "reference_sync": "hard", "reference_sync_every": 1, "warmup": 0}
    train(config_of(model_folder, pairs_file, tmp_path / "run", **settings))
    losses = history(tmp_path / "run")
    assert abs(losses[0] - LN_2) > 1e-3
    assert losses[1:] == pytest.approx([LN_2] * 5, abs=1e-6)


def test_another_model_of_another_shape_is_refused_before_the_folder_is_taken(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    other = write_model(tmp_path / "other", hidden_size=32)
    settings = {"reference_model": str(other), "reference_sync": "hard"}
    with pytest.raises(ModelError, match=r"policy and reference have other weights than each other, lm_head.weight"):
        train(config_of(model_folder, pairs_file, tmp_path / "run", **settings))
    assert not (tmp_path / "run").exists()


def test_weights_that_are_sharded_over_processes_are_refused(tmp_path: Path) -> None:
    model = tiny_llama()
    arguments = TrainingArguments(str(tmp_path), use_cpu=True)
    arguments.fsdp = "full_shard"
    sync = ReferenceSync(FrozenCopy(copy.deepcopy(model)), mix=1.0, every=1)
    with pytest.raises(ConfigError, match="sharded over processes"):
        sync.on_init_end(arguments, TrainerState(), TrainerControl(), model=model)


# --- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"reference_sync": "sometimes"}, "must be one of off, soft, hard"),
        ({"reference_sync": "hard", "reference_sync_every": 0}, "reference_sync_every = 0: must be at least 1"),
        ({"reference_sync_every": 10}, "reference_sync_every = 10: the reference does not move"),
        ({"reference_sync_mix": 0.5}, "only a soft update mixes, and reference_sync is off"),
        ({"reference_sync": "hard", "reference_sync_mix": 0.5}, "and reference_sync is hard"),
        ({"reference_sync": "soft", "reference_sync_mix": 0.0}, "must be in (0, 1]"),
        ({"reference_sync": "soft", "reference_sync_mix": 1.5}, "must be in (0, 1]"),
        ({"reference_sync": "soft", "method": "sft"}, "reference_sync = soft: method sft has no reference"),
        ({"reference_sync": "soft", "lora": True, "reference_model": "b"}, "an adapter cannot be mixed into"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig.of(**{"model": "a", "data": "d", "output": "o", **settings})
    assert text in str(caught.value)
