from pathlib import Path
from typing import Any

import pytest

from preftune.errors import ConfigError, OutputError
from preftune.settings.sweep_config import SweepConfig
from preftune.sweep.folder import SweepFolder, differences, settings_record

BASE = {"model": "gpt2", "data": "prefs.jsonl", "eval_fraction": 0.1}


def config(base: dict[str, Any] | None = None, evaluation: dict[str, Any] | None = None, **sweep: Any) -> SweepConfig:
    return SweepConfig.of({**BASE, **(base or {})}, {"output": "s", "over": "beta=0.1,0.3", **sweep}, evaluation)


def problems(**settings: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        config(**settings)
    return caught.value.problems


def test_a_grid_has_all_combinations_one_seed_after_the_other() -> None:
    found = config(over=["beta=0.1,0.3", "learning_rate=1e-5"], seeds="1,2").points()
    assert [point.name for point in found] == [
        "beta=0.1,learning_rate=1e-05,seed=1",
        "beta=0.3,learning_rate=1e-05,seed=1",
        "beta=0.1,learning_rate=1e-05,seed=2",
        "beta=0.3,learning_rate=1e-05,seed=2",
    ]
    assert found[1].config.method.options["beta"] == 0.3
    assert found[1].config.optimizer.learning_rate == 1e-5
    assert found[3].config.output.output == "s/beta=0.3,learning_rate=1e-05,seed=2"


def test_the_seed_of_the_base_counts_where_no_seeds_are_given() -> None:
    assert [point.seed for point in config({"seed": 7}).points()] == [7, 7]


def test_what_a_run_wrote_of_its_folder_is_left_aside() -> None:
    point = config({"output": "elsewhere", "resume": True, "overwrite": False}).points()[0]
    assert point.config.output.output == "s/beta=0.1,seed=0"
    assert not point.config.output.resume


def test_all_problems_are_reported_at_once() -> None:
    found = problems(
        base={"epochs": -1.0},
        over=["betta=1", "lora=on,maybe", "beta"],
        reward="someone",
        kl_budget=-1.0,
        evaluation={"judge": "nobody", "resamples": 0},
    )
    for start in ("reward = someone", "kl_budget = -1", "betta:", "lora = maybe", "over = beta:", "epochs = -1"):
        assert any(problem.startswith(start) for problem in found), (start, found)
    for start in ("judge = nobody", "resamples = 0"):
        assert any(problem.startswith(start) for problem in found), (start, found)


def test_a_point_that_the_method_cannot_take_is_named() -> None:
    (found,) = problems(over=["method=dpo,ipo", "beta=0.1,0.3"])
    assert found.startswith("beta: not an option of method ipo")
    assert found.endswith("(point method=ipo, beta=0.1)")


def test_a_problem_of_all_points_is_reported_once_without_a_name() -> None:
    assert problems(base={"epochs": 0.0}) == ("epochs = 0.0: must be in (0, 1000000].",)


@pytest.mark.parametrize(
    ("settings", "start"),
    [
        ({"over": []}, "over: nothing is swept."),
        ({"search": ["beta=0.1:1"]}, "over and search: one runs a grid"),
        ({"over": [], "search": ["beta=0.1:1"]}, "trials: how many points"),
        ({"trials": 3}, "trials = 3: a grid has as many points as it has."),
        ({"seeds": "1,1"}, "seeds = 1,1: one is named twice."),
        ({"strengths": "1,2"}, "strengths = 1,2: nothing is realigned."),
        ({"realign": "beta=0.1", "strengths": "1,-2"}, "strengths = 1,-2: must be numbers"),
        ({"over": ["beta=0.1", "beta=0.3"]}, "over = beta=0.3: beta is named twice."),
        ({"reward": "python:m:f", "evaluation": {"judge": "python:m:g"}}, "reward and judge:"),
        ({"evaluation": {"samples": 0}}, "samples = 0: the KL of a point"),
        ({"evaluation": {"temperature": [0.5, 1.0]}}, "temperature: points are compared at one"),
        ({"evaluation": {"best_of": 4}}, "best_of: is not a setting of the evaluations of a sweep."),
        ({"base": {"eval_fraction": 0.0}}, "eval_data: nothing is held out"),
        ({"base": {"eval_fraction": 0.0}, "evaluation": {"prompts": "p.txt"}}, "prompts: without held-out data"),
    ],
)
def test_invalid_settings_are_reported(settings: dict[str, Any], start: str) -> None:
    assert problems(**settings)[0].startswith(start)


def test_prompts_will_do_where_a_reward_values_points() -> None:
    found = config({"eval_fraction": 0.0}, {"prompts": "p.txt"}, reward="python:m:f")
    assert found.value == "score"
    assert found.evaluation == {"samples": 1, "prompts": "p.txt", "judge": "python:m:f"}


def test_a_search_checks_the_corners_of_its_space() -> None:
    (found,) = problems(over=[], search=["beta=0:1"], trials=3)
    assert found.startswith("beta = 0.0: must be above 0.")
    assert found.endswith("(point beta=0)")
    assert config(over=[], search=["beta=0.1:1", "method=dpo,ipo"], trials=3).points() == []


def test_a_sweep_may_grow_but_not_change(tmp_path: Path) -> None:
    before = settings_record(config())
    assert list(differences(before, settings_record(config(over="beta=0.01,0.1,0.3", seeds="0,1")))) == []
    assert list(differences(before, settings_record(config({"log_every": 9}, {"judge_concurrency": 2})))) == []
    assert list(differences(before, settings_record(config(kl_budget=3.0, realign="beta=0.1")))) == []
    changed = config({"epochs": 3.0}, {"num_prompts": 9}, over="beta=0.1", seeds="1", reward="python:m:f")
    found = list(differences(before, settings_record(changed)))
    assert [text.partition(":")[0] for text in found] == [
        "epochs = 3.0", "judge = 'python", "num_prompts = 9", "value = score", "beta", "seeds",
    ]  # fmt: skip
    assert "beta: the sweep began with 0.3, too." in found[4]


def test_other_swept_settings_are_another_sweep() -> None:
    before = settings_record(config())
    (found,) = differences(before, settings_record(config(over="learning_rate=1e-5")))
    assert found.startswith("learning_rate: the sweep began with beta.")
    searched = settings_record(config(over=[], search=["beta=0.1:1:log"], trials=3))
    (found,) = differences(searched, settings_record(config(over=[], search=["beta=0.1:2:log"], trials=3)))
    assert "began with beta in {'beta': '0.1:1:log'}" in found


def test_a_folder_of_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="other than those of a sweep"):
        SweepFolder(tmp_path).check(config())
    with pytest.raises(OutputError, match="is a file"):
        SweepFolder(tmp_path / "notes.txt").check(config())
    SweepFolder(tmp_path / "new").check(config())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt"]


def test_a_folder_continues_only_its_own_sweep(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path / "s")
    folder.begin(config())
    folder.check(config())
    with pytest.raises(ConfigError, match=r"epochs = 2\.0: the sweep began with 1\.0"):
        folder.check(config({"epochs": 2.0}))
