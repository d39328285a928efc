import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

from preftune.errors import ConfigError, TrainingError
from preftune.losses import Method
from preftune.model.forward.model_size import work_of
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import pack
from preftune.model.load.device_memory import HostMemory
from preftune.model.reference.reference import FrozenCopy
from preftune.planning.sizes import sizes_of
from preftune.planning.step import MicroBatchShape
from preftune.runs import memory_budget
from preftune.runs.arguments import checkpointing_argument
from preftune.runs.memory_budget import MeasuredBudget, Pace, measure_budget
from preftune.training.objective import Objective
from tests.builders import tiny_llama, token_groups
from tests.training.test_trainer import arguments, trainer_of


def test_time_is_carried_over_from_the_faster_of_two_steps_by_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    trainer = trainer_of(tiny_llama(), token_groups(12), tmp_path, batch_size=3, num_train_epochs=2)
    works = [trainer.train_steps.work(index) for index in (0, 1)]
    times = iter([0.0, 5 * works[0], 100.0, 100.0 + 2 * works[1]])
    monkeypatch.setattr(memory_budget, "seconds_now", lambda _device: next(times))
    trainer.add_callback(Pace(trainer.train_steps, 35.0, lines.append))
    trainer.train()
    assert lines == [
        "plan: only 8 steps in all, which rarely teach much. --epochs 5 makes 20; a smaller --batch-size makes more, "
        "too",
        "pace: about 1.2 min a step, 7 min 0 s for the 6 steps left",
    ]
    assert next(times, None) is None


@pytest.mark.parametrize(("settings", "num_lines"), [({}, 2), ({"max_steps": 3}, 1), ({"num_train_epochs": 20}, 1)])
def test_only_a_run_that_the_epochs_make_short_gets_advice(
    settings: dict[str, Any], num_lines: int, tmp_path: Path
) -> None:
    lines: list[str] = []
    trainer = trainer_of(tiny_llama(), token_groups(4), tmp_path, **settings)
    trainer.add_callback(Pace(trainer.train_steps, trainer.plan.work_per_step, lines.append))
    trainer.train()
    assert len(lines) == num_lines
    assert lines[-1].startswith("pace: ")


GROUPS = token_groups(200, longest=40)
BIGGEST = max(MicroBatchShape.of([size]).packed_tokens for size in sizes_of(GROUPS))


class LinearMemory:
    """A device on which a run takes 1 MiB and 1 KiB for each token of the policy's last forward."""

    def __init__(self, model: torch.nn.Module, free: int) -> None:
        self._free = free
        self._num_tokens = 0
        self.rows: list[int] = []
        model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, _module: Any, _inputs: Any, keywords: dict[str, Any]) -> None:
        self._num_tokens = keywords["input_ids"].numel()

    def used(self) -> int:
        return 7 * 2**20

    def free(self) -> int:
        return self._free

    def peak_used(self, work: Callable[[], object]) -> int:
        work()
        self.rows.append(self._num_tokens)
        return self.used() + 2**20 + 1024 * self._num_tokens


def measured(
    model: LlamaForCausalLM | PeftModel, folder: Path, groups: Any = GROUPS, **settings: Any
) -> MeasuredBudget:
    reference = FrozenCopy(copy.deepcopy(model).eval().requires_grad_(False))
    objective = Objective(Method.named("dpo"), reference, PackedForward())
    return measure_budget(model, objective, groups, arguments(folder, **settings), work=work_of(model))


def device(monkeypatch: pytest.MonkeyPatch, model: torch.nn.Module, free: int) -> LinearMemory:
    memory = LinearMemory(model, free)
    monkeypatch.setattr(memory_budget, "memory_of", lambda _: memory)
    return memory


def test_the_budget_is_what_the_line_through_two_measurements_allows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = tiny_llama()
    states = 8 * sum(weight.numel() for weight in model.parameters())  # two float32 numbers of AdamW for each weight
    memory = device(monkeypatch, model, free=10 * 2**20 + states)
    found = measured(model, tmp_path)
    assert memory.rows[0] == BIGGEST
    assert 2 * BIGGEST <= memory.rows[1] < 3 * BIGGEST + memory_budget._ROW_TOKENS["cpu"]
    assert found.bytes_per_token == pytest.approx(1024)
    assert found.free_bytes == 10 * 2**20
    fits = (0.85 * 10 * 2**20 - 2**20) / 1024
    assert fits - 256 < found.max_tokens <= fits
    assert found.max_tokens % 256 == 0
    assert str(found) == f"{found.max_tokens:,} (auto: 1.0 KiB a token, 10 MiB free)"
    assert found.work_per_second > 0


def test_the_budget_is_never_below_the_biggest_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = tiny_llama()
    memory = device(monkeypatch, model, free=0)
    found = measured(model, tmp_path)
    assert found.max_tokens == BIGGEST
    assert memory.rows == [BIGGEST, BIGGEST]  # there is no room to try more


def test_frozen_weights_need_no_optimizer_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = tiny_llama()
    model.requires_grad_(False).lm_head.requires_grad_(True)
    device(monkeypatch, model, free=2**30)
    assert measured(model, tmp_path).free_bytes == 2**30 - 8 * model.lm_head.weight.numel()


def test_a_cpu_has_a_bound_and_it_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = tiny_llama()
    device(monkeypatch, model, free=2**36)
    found = measured(model, tmp_path)
    assert found.max_tokens == 16_384
    assert str(found).endswith("64 GiB free; more is not faster on a CPU)")


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("adapter", [False, True], ids=["full", "adapter"])
def test_measuring_leaves_no_trace(tmp_path: Path, recompute: bool, adapter: bool) -> None:
    model: LlamaForCausalLM | PeftModel = tiny_llama(attention_dropout=0.5)
    if adapter:
        model = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear"))
    model.eval()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    found = measured(model, tmp_path, **{checkpointing_argument(): recompute})
    assert found.max_tokens >= BIGGEST
    assert all(weight.grad is None for weight in model.parameters())
    assert not any(module.training for module in model.modules())
    assert not any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]), name


def test_activations_are_measured_as_training_keeps_them(tmp_path: Path) -> None:
    model = tiny_llama(hidden_size=128, num_hidden_layers=6, max_position_embeddings=1024)
    groups = token_groups(24, longest=400)
    kept = measured(model, tmp_path, groups)
    recomputed = measured(model, tmp_path, groups, **{checkpointing_argument(): True})
    assert recomputed.bytes_per_token < 0.8 * kept.bytes_per_token
    row = pack(groups).to("cpu")
    memory = HostMemory()
    before = memory.used()
    peak = memory.peak_used(lambda: PackedForward().token_logps(model.train(), row).sum().backward()) - before
    assert kept.bytes_per_token * len(row.token_ids) == pytest.approx(peak, rel=0.5)


def test_a_group_that_memory_does_not_suffice_for_ends_the_run_with_what_to_do(tmp_path: Path) -> None:
    model = tiny_llama()

    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    model.register_forward_pre_hook(fail)
    with pytest.raises(TrainingError, match=rf"out of memory on {BIGGEST} tokens, while memory was measured\. Lower"):
        measured(model, tmp_path)
    assert not model.training or all(weight.grad is None for weight in model.parameters())


def test_a_model_that_will_be_sharded_is_not_measured(tmp_path: Path) -> None:
    model = tiny_llama()
    settings = arguments(tmp_path)
    settings.fsdp = "full_shard"
    objective = Objective(Method.named("sft"), FrozenCopy(model), PackedForward())
    with pytest.raises(ConfigError, match="auto: cannot be measured for a model that is sharded"):
        measure_budget(model, objective, GROUPS, settings, work=work_of(model))
