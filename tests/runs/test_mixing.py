"""From weights in the settings to the prompts that an epoch holds."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from preftune.data.mixture import Mixture
from preftune.errors import ConfigError, DataError
from preftune.losses import Method
from preftune.runs.mixing import drawn_in
from preftune.runs.prepare_data import PreparedData, prepare_data
from preftune.settings import DataSettings, StepSettings, TrainConfig
from preftune.training.steps import Batching, StepDataset
from tests.builders import token_groups
from tests.data.tokenizers_for_tests import make_tokenizer

TOKENIZER = make_tokenizer()


def write(path: Path, count: int, name: str, **columns: Any) -> str:
    rows = [
        {"prompt": f"{name} {row}?", "chosen": f" {row}", "rejected": f" {row + 1}"} | columns for row in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    """Twelve prompts in one file, four in another."""
    return [write(tmp_path / "many.jsonl", 12, "many"), write(tmp_path / "few.jsonl", 4, "few")]


def prepared(**settings: Any) -> PreparedData:
    return prepare_data(TrainConfig.of(model="m", output="o", **settings), TOKENIZER, None)


def sources_of(data: PreparedData, indices: list[int]) -> Counter[str]:
    return Counter(Path(data.train[index].origin.source).stem for index in indices)


def test_an_epoch_holds_as_much_of_each_source_as_its_weight_says(sources: list[str]) -> None:
    data = prepared(data=sources, mix=[0.6, 0.4])
    assert data.mixture is not None
    assert data.mixture.counts == (6, 4)
    assert sources_of(data, data.mixture.draw(0)) == {"many": 6, "few": 4}
    assert "\n  mix: " + sources[0] + ": 6 of 12 prompts per epoch\n" in "\n".join(data.lines())


def test_without_weights_an_epoch_is_all_there_is(sources: list[str]) -> None:
    data = prepared(data=sources)
    assert (data.mixture, list(data.drawn)) == (None, list(range(16)))


def test_only_what_the_run_will_see_is_computed(sources: list[str]) -> None:
    once, twice = prepared(data=sources, mix=[1, 1]), prepared(data=sources, mix=[1, 1], epochs=2)
    assert (len(once.train), len(once.all_groups), len(twice.all_groups)) == (16, 8, 12)
    assert len(prepared(data=sources, mix=[1, 1], epochs=9).all_groups) == 16


def test_steps_may_end_before_or_after_the_epochs() -> None:
    mixture = Mixture(((0, 1, 2, 3, 4, 5), (6, 7)), counts=(2, 2), seed=0)
    assert len(drawn_in(mixture, StepSettings(max_steps=2, batch_size=2, epochs=9), 8)) == 4
    assert len(drawn_in(mixture, StepSettings(max_steps=5, batch_size=2), 8)) == 8
    assert len(drawn_in(mixture, StepSettings(epochs=1.5), 8)) == 6


def test_the_steps_of_an_epoch_are_made_of_what_it_holds() -> None:
    mixture = Mixture(((0, 1, 2, 3, 4, 5, 6, 7), (8, 9)), counts=(4, 6), seed=0)
    batching = Batching(batch_size=3, max_tokens=1000, layout="packed")
    steps = StepDataset(token_groups(10), Method.named("dpo"), batching, mixture)
    for epoch in (0, 1):
        steps.set_epoch(epoch)
        held = [group for step in range(len(steps)) for group in steps[step].groups]
        assert sorted(held) == mixture.draw(epoch)
        assert sum(steps[step].num_units["dpo"] for step in range(len(steps))) == 10


def test_a_held_out_prompt_is_in_no_epoch_whatever_file_it_is_in(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", 40, "What is")
    second = write(tmp_path / "b.jsonl", 40, "\uff37HAT \u200b is")  # the same prompts, in other letters
    data = prepared(data=[first, second], mix=[1, 1], eval_fraction=0.3)
    rows = {
        side: {group.origin.row for group in groups}
        for side, groups in (("train", data.train), ("held", data.held_out))
    }
    assert rows["train"].isdisjoint(rows["held"])
    assert len(data.held_out) == 2 * len(rows["held"])


def test_a_row_in_two_sources_has_no_clear_weight(sources: list[str]) -> None:
    folder = str(Path(sources[0]).parent)
    with pytest.raises(
        DataError, match=r"many\.jsonl:1: the row is in .* and in .*, so its weight in the mix is not clear"
    ):
        prepared(data=[folder, sources[0]], mix=[1, 1])


def test_a_source_that_nothing_is_left_of_is_an_error(tmp_path: Path, sources: list[str]) -> None:
    long = write(tmp_path / "long.jsonl", 3, "long " * 200)
    with pytest.raises(ConfigError, match=r"mix: .*long\.jsonl has 0 prompts"):
        prepare_data(
            TrainConfig.of(model="m", output="o", data=[sources[0], long], mix=[1, 1], too_long="drop"), TOKENIZER, 60
        )


def test_pairs_over_the_cap_are_left_out_of_training_and_told(tmp_path: Path) -> None:
    rows = [{"prompt": "2+2=", "chosen": " 4", "rejected": f" {row}"} for row in range(5, 9)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = prepared(data=str(tmp_path / "a.jsonl"), max_per_prompt=3)
    assert len(data.train) == 3
    assert "  1 pairs, completions or lists are beyond --max-per-prompt and were left out: " in "\n".join(data.lines())


def test_rows_that_are_not_wanted_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", 3, "a", score_ratio=1.5)
    write(tmp_path / "b.jsonl", 3, "b", score_ratio=2.5)
    data = prepared(data=str(tmp_path), where="score_ratio>=2")
    assert len(data.train) == 3
    assert f"  3 rows were left out, not score_ratio>=2: the first is {path}:1" in list(data.lines())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"mix": [0.7]}, "mix: has 1 weights for 2 data sources. Give one for each."),
        ({"mix": [0.7, 0]}, "mix = 0: is a weight and must be above 0."),
        ({"mix": [0.7, float("nan")]}, "mix = nan: is a weight"),
        ({"data": ["a", "a"], "mix": [1, 1]}, "mix: a data source is named twice."),
        ({"prompts_per_epoch": 9}, "prompts_per_epoch = 9: is the size of a mix. Set mix"),
        ({"prompts_per_epoch": 0, "mix": [1, 1]}, "prompts_per_epoch = 0: must be at least 1."),
        ({"max_per_prompt": 0}, "max_per_prompt = 0: must be at least 1."),
        ({"where": ["lang"]}, "where = 'lang': must be a column"),
    ],
)
def test_settings_that_cannot_work_are_told(changes: dict[str, Any], problem: str) -> None:
    [found] = DataSettings(**{"data": ["a", "b"], **changes}).problems()
    assert found.startswith(problem)


def test_a_mix_survives_its_yaml(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"data": ["a", "b"], "mix": ["0.7", 0.3], "where": "lang=en", "prompts_per_epoch": 10}
    config = TrainConfig.of(model="m", output="o", **settings)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert TrainConfig.read(tmp_path / "config.yaml") == config
    assert (config.data.mix, config.data.where) == ([0.7, 0.3], ["lang=en"])
