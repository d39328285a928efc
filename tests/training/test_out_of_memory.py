import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from preftune.errors import TrainingError
from preftune.losses import Method
from preftune.model.forward.sequences import SequencesForward
from preftune.training.objective import Objective
from preftune.training.out_of_memory import OutOfMemory, is_out_of_memory
from preftune.training.trainer import PreferenceTrainer
from tests.builders import tiny_llama, token_groups
from tests.training.test_trainer import arguments, frozen
from tests.training.trainers import make_trainer

BUDGET = 400
GROUPS = token_groups(24, longest=40)
ON_GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
ON_CPU = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.")


def trainer_of(
    start: LlamaForCausalLM,
    folder: Path,
    *,
    method: str = "dpo",
    budget: int = BUDGET,
    fails_in: tuple[int, ...] = (),
    error: Exception = ON_GPU,
    out_of_memory: OutOfMemory | None = None,
    **settings: Any,
) -> PreferenceTrainer:
    """A run of three steps, in which forwards of the policy with these numbers run out of memory."""
    model = copy.deepcopy(start)
    num_calls = 0

    def fail(*_: Any) -> None:
        nonlocal num_calls
        num_calls += 1
        if num_calls - 1 in fails_in:
            raise error

    model.register_forward_pre_hook(fail)
    return make_trainer(
        model,
        arguments(folder, num_train_epochs=1, **settings),
        objective=Objective(Method.named(method), frozen(start), SequencesForward()),
        train_groups=GROUPS,
        batch_size=8,
        max_tokens_per_microbatch=budget,
        out_of_memory=out_of_memory,
    )


def losses(trainer: PreferenceTrainer) -> list[dict[str, float]]:
    """The logged metrics, except those of speed and memory."""
    logs = [log for log in trainer.state.log_history if "loss" in log]
    varying = ("tokens_per_second", "peak_memory_gib")
    return [{name: value for name, value in log.items() if name not in varying} for log in logs]


def weights(trainer: PreferenceTrainer) -> dict[str, torch.Tensor]:
    assert trainer.model is not None
    return dict(trainer.model.named_parameters())


def halved(trainer: PreferenceTrainer) -> int:
    """The budget after running out of memory in the first step."""
    steps = trainer.train_steps
    return max(steps.biggest_micro_batch(steps[0]) // 2, steps.biggest_group)


@pytest.mark.parametrize("error", [ON_GPU, ON_CPU, MemoryError()], ids=["gpu", "cpu", "python"])
def test_a_run_that_ran_out_of_memory_is_the_run_with_the_smaller_budget(tmp_path: Path, error: Exception) -> None:
    start, lines = tiny_llama(), list[str]()
    plain = trainer_of(start, tmp_path)
    smaller = trainer_of(start, tmp_path, budget=halved(plain))
    smaller.train()
    guard = OutOfMemory(may_halve=True, say=lines.append)
    run = trainer_of(start, tmp_path, fails_in=(1,), error=error, out_of_memory=guard)
    run.train()
    assert run.train_steps.max_tokens == halved(plain) < BUDGET
    assert losses(run) == losses(smaller)
    for name, weight in weights(smaller).items():
        assert torch.equal(weights(run)[name], weight), name
    [line] = lines
    assert line.startswith(f"out of memory: going on with micro-batches of {halved(plain)} tokens in place of ")


def test_what_a_loss_remembers_does_not_count_a_step_twice(tmp_path: Path) -> None:
    start = tiny_llama()
    plain = trainer_of(start, tmp_path, method="bco_pair")
    smaller = trainer_of(start, tmp_path, method="bco_pair", budget=halved(plain))
    smaller.train()
    num_before_learning = len(plain.train_steps[0].micro_batches)  # a pass over the whole step comes first
    guard = OutOfMemory(may_halve=True)
    run = trainer_of(start, tmp_path, method="bco_pair", fails_in=(num_before_learning + 1,), out_of_memory=guard)
    run.train()
    assert run.train_steps.max_tokens == halved(plain)
    assert run.objective.states.snapshot() == smaller.objective.states.snapshot() != {}
    assert losses(run) == losses(smaller)


def test_dropout_draws_the_same_numbers_when_a_step_is_run_again(tmp_path: Path) -> None:
    start = tiny_llama(attention_dropout=0.3)
    plain = trainer_of(start, tmp_path)
    smaller = trainer_of(start, tmp_path, budget=halved(plain))
    smaller.train()
    run = trainer_of(start, tmp_path, fails_in=(1,), out_of_memory=OutOfMemory(may_halve=True))
    run.train()
    assert losses(run) == losses(smaller)


def test_repeating_a_step_in_the_middle_changes_only_rounding(tmp_path: Path) -> None:
    start = tiny_llama().double()
    plain = trainer_of(start, tmp_path)
    plain.train()
    num_forwards = sum(len(plain.train_steps[index].micro_batches) for index in range(2))
    run = trainer_of(start, tmp_path, fails_in=(num_forwards - 1,), out_of_memory=OutOfMemory(may_halve=True))
    run.train()
    assert run.train_steps.max_tokens < BUDGET
    for expected, found in zip(losses(plain), losses(run), strict=True):
        assert found == pytest.approx(expected, rel=1e-9)
    for name, weight in weights(plain).items():
        torch.testing.assert_close(weights(run)[name], weight, rtol=1e-9, atol=1e-12)


def test_the_second_time_the_run_ends_with_what_to_do(tmp_path: Path) -> None:
    run = trainer_of(tiny_llama(), tmp_path, fails_in=(1, 3), out_of_memory=OutOfMemory(may_halve=True))
    advice = r"with micro-batches of \d+ tokens\. Lower max_tokens_per_microbatch .* down to the \d+ tokens .*lora"
    with pytest.raises(TrainingError, match=advice):
        run.train()


def test_a_requested_budget_is_kept(tmp_path: Path) -> None:
    run = trainer_of(tiny_llama(), tmp_path, fails_in=(0,))
    with pytest.raises(TrainingError, match=r"out of memory with micro-batches of \d+ tokens") as caught:
        run.train()
    assert caught.value.__cause__ is ON_GPU
    assert run.train_steps.max_tokens == BUDGET


def test_what_cannot_be_cut_is_not_tried_again(tmp_path: Path) -> None:
    biggest = trainer_of(tiny_llama(), tmp_path).train_steps.biggest_group
    run = trainer_of(tiny_llama(), tmp_path, budget=biggest, fails_in=(0,), out_of_memory=OutOfMemory(may_halve=True))
    with pytest.raises(TrainingError, match="out of memory"):
        run.train()


def test_other_errors_are_no_lack_of_memory(tmp_path: Path) -> None:
    run = trainer_of(
        tiny_llama(), tmp_path, fails_in=(0,), error=RuntimeError("shapes"), out_of_memory=OutOfMemory(may_halve=True)
    )
    with pytest.raises(RuntimeError, match="shapes"):
        run.train()
    assert not is_out_of_memory(ValueError("can't allocate memory"))
