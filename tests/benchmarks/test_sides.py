"""The sides of each comparison do the same work, so that their times may be compared."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch

from benchmarks import overhead
from benchmarks.forward_step import WAYS, StepCase, make_step
from benchmarks.logp_sides import BASE, LOGP_SIDES, LogpCase, forward_backward
from benchmarks.training_sides import SIDES, Case, SideName, make_side
from benchmarks.workloads import SMOKE, WORKLOADS, Workload, make_groups, make_model

pytestmark = pytest.mark.filterwarnings("ignore")  # TRL's own warnings, and those it calls forth

WORKLOAD = WORKLOADS["hh"].shrunk(factor=16, num_prompts=3)
LISTS = WORKLOADS["lists"].shrunk(factor=32, num_prompts=2)


def test_every_side_is_listed() -> None:
    assert set(SIDES) == set(get_args(SideName))


def losses(name: SideName, case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    monkeypatch.setenv("PREFTUNE_CACHE", str(folder))
    side = make_side(name, case)
    assert side.turn() > 0
    return [{key: log[key] for key in ("loss", "logps/chosen")} for log in side.logs]


@pytest.mark.parametrize("workload", [WORKLOAD, LISTS], ids=["pairs", "lists"])
@pytest.mark.parametrize("name", [name for name in SIDES if name != "padded, fused"])
def test_whole_runs_have_the_losses_of_the_plain_loop(
    name: SideName, workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.startswith("TRL"):
        pytest.importorskip("trl")
    case = Case(workload, SMOKE, bf16=False, num_steps=4, learning_rate=1e-2)
    expected = losses("padded, fused", case, tmp_path, monkeypatch)
    found = losses(name, case, tmp_path, monkeypatch)
    assert expected[-1]["loss"] < 0.6, "the runs are only worth comparing if the model moved"
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=2e-4)


@pytest.mark.parametrize("name", LOGP_SIDES)
def test_log_prob_functions_agree(name: str) -> None:
    case = LogpCase(num_tokens=40, hidden_size=16, vocabulary_size=300, bf16=False)
    assert torch.allclose(forward_backward((name, case))(), forward_backward((BASE, case))(), atol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_ways_of_a_step_agree(way: str) -> None:
    case = StepCase(way, ((9, (4, 6, 2)), (5, (3, 3))), SMOKE, bf16=False)
    expected = make_step(replace(case, way="padded, all logits"))()
    assert torch.allclose(make_step(case)(), expected, atol=1e-4)


def test_trainer_and_bare_loop_have_the_same_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overhead, "LEARNING_RATE", 1e-2)
    lengths = [(prompt, tuple(answers)) for prompt, *answers in WORKLOAD.lengths]
    groups = make_groups(lengths, SMOKE.vocabulary_size)
    trainer = overhead._TimedTrainer(make_model(SMOKE), groups, tmp_path, bf16=False)
    bare = overhead._BareLoop(make_model(SMOKE), groups, bf16=False)
    assert min(trainer.turn(), bare.turn()) > 0
    assert bare.losses[-1] < 0.6
    assert trainer.losses == pytest.approx(bare.losses, rel=2e-4)
    clock = trainer.clock
    assert 0 < sum(clock.seconds.values()) < clock.total
    assert clock.steps == overhead.STEPS_PER_TURN
