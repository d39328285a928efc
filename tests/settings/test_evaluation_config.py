from pathlib import Path

import pytest

from preftune.errors import ConfigError
from preftune.settings.evaluation_config import EvaluationConfig, run_of
from tests.runs.inputs import config_of


def write_run(folder: Path, *, data: str = "prefs.jsonl", **settings: object) -> Path:
    """The files that tell a run, without a model."""
    folder.mkdir(parents=True)
    config = config_of(Path("base"), Path(data), folder, **settings)
    (folder / "config.yaml").write_text(config.to_yaml())
    (folder / "run.json").write_text("{}")
    return folder


def problems_of(**settings: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        EvaluationConfig.of(**settings)
    return caught.value.problems


def test_a_run_brings_its_settings(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", beta=0.3, max_length=77, eval_fraction=0.2, weights_dtype="bfloat16")
    config = EvaluationConfig.of(model=str(run))
    assert config.run is not None
    assert config.run.method.options["beta"] == 0.3
    assert (config.model.weights_dtype, config.model.precision) == ("bfloat16", "fp32")
    assert config.has_data
    assert config.sources == ("prefs.jsonl",)
    assert config.result_file == run / "evaluation.json"
    named = EvaluationConfig.of(model=str(run), data="other.jsonl", weights_dtype="float32")
    assert named.data is not None
    assert (named.data.max_length, named.model.weights_dtype) == (77, "float32")


def test_a_checkpoint_belongs_to_its_run_and_writes_its_own_result(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", eval_data="held.jsonl")
    checkpoint = run / "checkpoint-10"
    checkpoint.mkdir()
    config = EvaluationConfig.of(model=str(checkpoint))
    assert config.run is not None
    assert config.sources == ("held.jsonl",)
    assert config.result_file == checkpoint / "evaluation.json"


def test_a_mix_of_a_run_and_its_reference_does_not_replace_the_result_of_the_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", eval_data="held.jsonl")
    config = EvaluationConfig.of(model=str(run), strength=0.5)
    assert config.reference.strength == 0.5
    assert config.result_file == run / "evaluation-strength-0.5.json"
    assert EvaluationConfig.of(model=str(run), strength=0.5, json="r.json").result_file == Path("r.json")


def test_other_folders_and_hub_ids_are_no_runs(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("a: 1")
    assert run_of(str(tmp_path)) is None
    assert run_of("gpt2") is None
    config = EvaluationConfig.of(model="gpt2", data="held.jsonl")
    assert (config.run, config.result_file, config.model.weights_dtype) == (None, None, "auto")


def test_a_judge_draws_a_sample_each() -> None:
    assert EvaluationConfig.of(model="m", data="d").num_samples == 0
    config = EvaluationConfig.of(model="m", data="d", judge="reward:rm", temperature=[0.5, 1.0], top_p=0.9)
    assert config.num_samples == 1
    plain, hot, opponent = config.sampling(), config.sampling(0.5), config.sampling(0.5, role="opponent")
    assert (plain.temperature, plain.top_p) == (1.0, 1.0)
    assert (hot.temperature, hot.top_p) == (0.5, 0.9)
    assert hot.seed != opponent.seed


def test_all_problems_are_reported_at_once() -> None:
    found = problems_of(
        model="", data="d", beta=-1, samples=-1, judge="human", best_of=1, resamples=0, max_tokens=1, nonsense=3
    )
    for problem in (
        "model: is empty.",
        "beta = -1.0: must be above 0.",
        "samples = -1: must be at least 0.",
        "judge = human: must be openai:MODEL",
        "best_of = 1: must be at least 2",
        "resamples = 0:",
        "max_tokens = 1:",
        "nonsense: there is no such setting.",
    ):
        assert any(text.startswith(problem) for text in found), problem


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({}, "data: is not given, and the model is not a run that held some out."),
        ({"data": "d", "prompts": "p.txt"}, "prompts: nothing is drawn."),
        ({"data": "d", "against": "chosen"}, "against = chosen: there is no judge"),
        ({"prompts": "p.txt", "judge": "reward:r", "against": "chosen"}, "against = chosen: prompts alone have no"),
        ({"data": "d", "judge": "reward:r", "samples": 0}, "samples = 0: the judge has nothing to compare."),
        ({"data": "d", "judge": "python:module"}, "judge = python:module: must name a module and a function"),
        ({"data": "d", "judge": "file:v", "judge_budget": 5}, "judge_budget = 5: is for endpoints"),
        ({"data": "d", "reference": "none", "best_of": 4}, "best_of: the implicit reward needs a reference"),
        ({"data": "d", "samples": 2, "temperature": [0.0]}, "samples = 2: at temperature 0 all samples are the same."),
        ({"data": "d", "temperature": [0.5, 0.5]}, "temperature: one is named twice."),
        ({"data": "d", "confidence": 1}, "confidence = 1.0: must be in (0, 1)"),
        ({"data": "d", "overwrite": True}, "overwrite: evaluation.json of a run is replaced anyway."),
        ({"data": "d", "strength": -0.5}, "strength = -0.5: must be at least 0; 0 is the reference, 1 the model"),
        ({"data": "d", "strength": float("nan")}, "strength = nan: must be at least 0"),
        ({"data": "d", "strength": 0.5, "reference": "none"}, "strength = 0.5: mixes in the reference, and reference"),
        ({"data": "d", "judgee": "x"}, "judgee: there is no such setting. Did you mean judge?"),
    ],
)
def test_what_does_not_go_together_is_named(settings: dict[str, object], problem: str) -> None:
    (found,) = problems_of(model="m", **settings)
    assert found.startswith(problem)


def test_prompts_alone_suffice_for_sampling() -> None:
    config = EvaluationConfig.of(model="m", prompts="p.txt", samples=2)
    assert (config.has_data, config.sources) == (False, ("p.txt",))
