import gc
import math
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from rich.console import Console
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from preftune.losses import Method
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.forward import Forward
from preftune.model.forward.packed_batch import PackedBatch
from preftune.model.forward.sequences import SequencesForward
from preftune.model.load.choose_forward import choose_forward_for
from preftune.model.load.load_model import Policy, load_policy
from preftune.model.reference.cached import Cached
from preftune.model.reference.reference import AdapterOff, FrozenCopy, KeptAdapter, NoReference
from preftune.runs import run as run_module
from preftune.runs.arguments import training_arguments
from preftune.runs.reference import cache_reference
from preftune.runs.run import train
from preftune.settings import TrainConfig
from preftune.training.objective import Objective
from preftune.training.trainer import PreferenceTrainer
from tests.builders import tiny_llama, token_groups
from tests.runs.inputs import config_of, history, write_model, write_pairs
from tests.training.test_trainer import arguments, frozen
from tests.training.trainers import make_trainer

QUIET = Console(quiet=True)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of completions in each pass of a reference model."""
    counts: list[int] = []
    for kind in (FrozenCopy, AdapterOff, KeptAdapter):
        monkeypatch.setattr(kind, "logps", _counting(kind.logps, counts))
    return counts


def _counting(logps: Any, counts: list[int]) -> Any:
    def counted(self: Any, forward: Forward, policy: nn.Module, batch: PackedBatch) -> Tensor:
        counts.append(batch.num_completions)
        found: Tensor = logps(self, forward, policy, batch)
        return found

    return counted


def cached(config: TrainConfig, *, per_token: bool = False) -> Policy:
    policy = load_policy(config)
    arguments = training_arguments(config)
    forward = choose_forward_for(policy.model, policy.reference, Arithmetic.of_arguments(arguments)).forward
    groups = token_groups(5, vocab_size=20)
    return cache_reference(policy, forward, groups, arguments, max_tokens=200, console=QUIET, per_token=per_token)


def test_a_second_epoch_a_second_beta_and_a_grown_file_cost_nothing_nothing_and_what_is_new(
    model_folder: Path, tmp_path: Path, passes: list[int]
) -> None:
    pairs = write_pairs(tmp_path / "pairs.jsonl", 12)
    train(config_of(model_folder, pairs, tmp_path / "a", epochs=2, eval_fraction=0.25))
    assert sum(passes) == 24
    passes.clear()
    train(config_of(model_folder, pairs, tmp_path / "b", beta=0.5))
    assert passes == []
    train(config_of(model_folder, write_pairs(tmp_path / "more.jsonl", 15), tmp_path / "c"))
    assert sum(passes) == 6


def test_an_adapter_off_shares_the_log_probs_of_the_same_model_trained_whole(
    model_folder: Path, pairs_file: Path, tmp_path: Path, passes: list[int]
) -> None:
    train(config_of(model_folder, pairs_file, tmp_path / "a", lora=True))
    assert sum(passes) == 24
    train(config_of(model_folder, pairs_file, tmp_path / "b", lora=True, lora_rank=4, seed=3))
    train(config_of(model_folder, pairs_file, tmp_path / "c"))
    assert sum(passes) == 24


@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [({}, 1e-5), ({"lora": True}, 1e-5), ({"weights_dtype": "float64"}, 1e-10), ({"dropout": True}, 1e-5)],
    ids=["float32", "adapter", "float64", "dropout"],
)
def test_training_is_the_same_with_and_without_the_cache(
    model_folder: Path,
    pairs_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    tolerance: float,
) -> None:
    if settings.pop("weights_dtype", None):
        monkeypatch.setattr(run_module, "load_policy", in_float64)
    for name, cache in (("with", True), ("without", False)):
        config = config_of(
            model_folder, pairs_file, tmp_path / name, epochs=4, learning_rate=1e-2, eval_fraction=0.25,
            reference_cache=cache, **settings,
        )  # fmt: skip
        train(config)
    for metric in ("loss", "eval_loss", "rewards/margins"):
        found, expected = history(tmp_path / "with", metric), history(tmp_path / "without", metric)
        assert found == pytest.approx(expected, abs=tolerance, rel=tolerance)
    assert len(history(tmp_path / "with")) == 12


def in_float64(config: TrainConfig) -> Policy:
    policy = load_policy(config)
    assert isinstance(policy.reference, FrozenCopy)
    return Policy(policy.model.double(), FrozenCopy(policy.reference.model.double()), starts_at_reference=True)


def test_the_first_loss_is_ln_2_from_the_cache(pairs_file: Path, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", hidden_size=128, num_hidden_layers=4, initializer_range=0.1)
    for name in ("computed", "kept"):
        train(config_of(model, pairs_file, tmp_path / name, max_tokens_per_microbatch=90))
        assert abs(history(tmp_path / name)[0] - math.log(2)) < 1e-6


def test_the_reference_model_leaves_memory_before_training(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    references: list[weakref.ref[nn.Module]] = []
    alive: list[bool] = []

    def load_and_watch(config: TrainConfig) -> Policy:
        policy = load_policy(config)
        assert isinstance(policy.reference, FrozenCopy)
        references.append(weakref.ref(policy.reference.model))
        return policy

    class Watch(PreferenceTrainer):
        def train(self, *arguments: Any, **keywords: Any) -> Any:
            gc.collect()
            alive.extend(reference() is not None for reference in references)
            return super().train(*arguments, **keywords)

    monkeypatch.setattr(run_module, "load_policy", load_and_watch)
    monkeypatch.setattr(run_module, "PreferenceTrainer", Watch)
    for cache in (True, False):
        train(config_of(model_folder, pairs_file, tmp_path / str(cache), reference_cache=cache))
        references.clear()
    assert alive == [False, True]


def test_a_kept_adapter_leaves_the_model_and_the_run_continues_from_it(
    model_folder: Path, pairs_file: Path, tmp_path: Path, passes: list[int]
) -> None:
    train(config_of(model_folder, pairs_file, tmp_path / "sft", method="sft", lora=True, learning_rate=1e-1))
    policy = cached(config_of(tmp_path / "sft", pairs_file, tmp_path / "x", lora=True))
    assert isinstance(policy.model, PeftModel)
    assert isinstance(policy.reference, Cached)
    assert list(policy.model.peft_config) == ["default"]
    assert any(parameter.requires_grad for parameter in policy.model.parameters())
    assert sum(passes) == 10
    result = train(config_of(tmp_path / "sft", pairs_file, tmp_path / "dpo", lora=True, learning_rate=1e-2))
    assert abs(history(Path(result.folder))[0] - math.log(2)) < 1e-6
    assert result.train["loss"].last < history(Path(result.folder))[0]
    base = AutoModelForCausalLM.from_pretrained(model_folder)
    assert list(PeftModel.from_pretrained(base, tmp_path / "dpo").peft_config) == ["default"]


def test_another_adapter_is_another_reference(
    model_folder: Path, pairs_file: Path, tmp_path: Path, passes: list[int]
) -> None:
    for seed in (1, 2):
        folder = tmp_path / f"sft{seed}"
        train(config_of(model_folder, pairs_file, folder, method="sft", lora=True, learning_rate=1e-1, seed=seed))
        cached(config_of(folder, pairs_file, tmp_path / "x", lora=True))
        assert sum(passes) == 10 * seed


def test_log_probs_per_token_are_computed_on_request(
    model_folder: Path, pairs_file: Path, tmp_path: Path, passes: list[int]
) -> None:
    config = config_of(model_folder, pairs_file, tmp_path / "x")
    policy = cached(config, per_token=True)
    assert isinstance(policy.reference, Cached)
    assert policy.reference.token_table is not None
    cached(config)
    assert passes == []


def test_a_method_without_a_reference_touches_no_cache(
    model_folder: Path, pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFTUNE_CACHE", str(tmp_path / "cache"))
    policy = cached(config_of(model_folder, pairs_file, tmp_path / "sft", method="sft"))
    assert isinstance(policy.reference, NoReference)
    assert not (tmp_path / "cache").exists()


def test_the_console_says_what_was_computed_and_what_was_there(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    texts = []
    for name in ("a", "b"):
        with (tmp_path / "log").open("w") as log:
            console = Console(record=True, width=200, file=log)
            train(config_of(model_folder, pairs_file, tmp_path / name), console=console)
        texts.append(console.export_text())
    assert "reference: 24 log-probs computed, 0 kept from earlier" in texts[0]
    assert "reference: 0 log-probs computed, 24 kept from earlier" in texts[1]


def test_a_run_may_be_resumed_without_the_cache_it_began_with(
    model_folder: Path, pairs_file: Path, tmp_path: Path
) -> None:
    first = train(config_of(model_folder, pairs_file, tmp_path / "run"))
    resumed = train(config_of(model_folder, pairs_file, tmp_path / "run", reference_cache=False, resume=True))
    assert resumed.num_steps == first.num_steps


def test_direct_references_compute_in_the_precision_of_training(
    tmp_path: Path,
) -> None:
    model = tiny_llama()
    trainer = make_trainer(
        model,
        arguments(tmp_path, bf16=True),
        objective=Objective(Method.named("dpo"), frozen(model), SequencesForward()),
        train_groups=token_groups(4),
        batch_size=4,
        max_tokens_per_microbatch=1000,
    )
    trainer.train()
    assert trainer.state.log_history[0]["rewards/chosen"] == 0
    assert torch.isfinite(model.lm_head.weight).all()
