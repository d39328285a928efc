from pathlib import Path

import pytest

from preftune.runs import pace
from preftune.runs.pace import Pace
from tests.builders import tiny_llama, token_groups
from tests.training.test_trainer import trainer_of


def test_time_is_carried_over_from_the_faster_of_two_steps_by_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    trainer = trainer_of(tiny_llama(), token_groups(12), tmp_path, batch_size=3, num_train_epochs=2)
    works = [trainer.train_steps.work(index) for index in (0, 1)]
    times = iter([0.0, 5 * works[0], 100.0, 100.0 + 2 * works[1]])
    monkeypatch.setattr(pace, "seconds_now", lambda _device: next(times))
    trainer.add_callback(Pace(trainer.train_steps, 35.0, lines.append))
    trainer.train()
    assert lines == ["pace: about 1.2 min a step, 9 min 20 s for 8 steps"]
    assert next(times, None) is None


def test_a_run_of_one_step_says_nothing(tmp_path: Path) -> None:
    lines: list[str] = []
    trainer = trainer_of(tiny_llama(), token_groups(4), tmp_path)
    trainer.add_callback(Pace(trainer.train_steps, trainer.plan.work_per_step, lines.append))
    trainer.train()
    assert trainer.state.global_step == 3  # three epochs of a step each
    assert len(lines) == 1
