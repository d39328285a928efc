"""From data settings to token groups, for methods of each kind."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from preftune.data.mixture import Mixture
from preftune.errors import ConfigError, DataError
from preftune.losses import Argument, Loss, Method, Part
from preftune.losses.thumbs import kto
from preftune.runs.data_report import PartReport
from preftune.runs.prepare_data import PreparedData, drawn_in, prepare_data
from preftune.settings import DataSettings, StepSettings, TrainConfig
from preftune.training.steps import Batching, StepDataset
from tests.builders import token_groups
from tests.data.tokenizers_for_tests import make_tokenizer
from tests.runs.inputs import config_of, write_pairs

TOKENIZER = make_tokenizer()
PAIRS = [
    {"prompt": "What is 2+2?", "chosen": " Four.", "rejected": " For.", "margin": 2},
    {"prompt": "What is 1+2?", "chosen": " 3", "rejected": " 4", "margin": 1},
]
LISTS: list[dict[str, Any]] = [
    {"prompt": "What is 2+2?", "completions": [" 4", " 5", " 6"], "scores": [3, 1, 1]},
    {"prompt": "What is 1+2?", "completions": [" 3", " 4"], "scores": [1, 1]},
]
THUMBS = [
    {"prompt": f"What is {row}?", "completion": f" {row}", "label": label}
    for row, label in enumerate([True, False, False, False])
]


def method_of(*takes: Argument, name: str = "dpo", **options: float) -> Method:
    """A method with the given feedback, independent of the table of losses."""
    loss = Loss(kto, takes, "completion", needs_reference=True, source="here")
    return Method(name, (Part(name, loss, options),))


KTO = method_of(
    "completions", "desirable", "mismatched", name="kto", beta=0.1, desirable_weight=1.0, undesirable_weight=1.0
)


def prepared(
    rows: Sequence[Mapping[str, Any]],
    folder: Path,
    method: Method | None = None,
    *,
    max_length: int | None = None,
    **settings: Any,
) -> PreparedData:
    path = folder / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    config = TrainConfig.of(model="m", data=str(path), output="o", **settings)
    if method is not None:
        config = replace(config, method=method)
    return prepare_data(config, TOKENIZER, max_length)


def lines(data: PreparedData) -> str:
    return "\n".join(data.lines())


def test_pairs_reach_a_method_of_pairs(tmp_path: Path) -> None:
    data = prepared(PAIRS, tmp_path)
    assert [len(group.pairs) for group in data.train] == [1, 1]
    assert lines(data).startswith("train: 2 prompts, ")
    assert "tokens, 2 pairs" in lines(data)
    assert not data.is_weighted


def test_lists_reach_a_method_of_pairs_and_omissions_are_reported(tmp_path: Path) -> None:
    data = prepared(LISTS, tmp_path)
    [group] = data.train
    assert [(pair.chosen, pair.rejected, pair.margin) for pair in group.pairs] == [(0, 1, 2.0), (0, 2, 2.0)]
    path = tmp_path / "data.jsonl"
    assert f"  2 pairs have equal scores and were left out: {path}:1, {path}:2" in lines(data)
    assert f"  1 prompts have nothing to compare and were left out: {path}:2" in lines(data)


def test_the_rule_and_the_gap_of_the_settings_hold(tmp_path: Path) -> None:
    rows = [LISTS[0] | {"scores": [3, 2.5, 1]}]
    best = prepared(rows, tmp_path, pairing="best_vs_worst").train[0]
    assert (len(best.completions), len(best.pairs)) == (2, 1)
    wide = prepared(rows, tmp_path, min_score_gap=1.0)
    assert len(wide.train[0].pairs) == 2
    assert "1 pairs have scores closer than --min-score-gap" in lines(wide)


def test_lists_reach_a_method_of_lists(tmp_path: Path) -> None:
    data = prepared(LISTS, tmp_path, method_of("completions", "scores", "prompts"))
    assert [group.scores for group in data.train] == [(3.0, 1.0, 1.0), (1.0, 1.0)]
    assert [len(group.pairs) for group in data.train] == [2, 0]


def test_thumbs_reach_a_method_of_thumbs_with_counts_mismatched_completions_and_a_warning(tmp_path: Path) -> None:
    data = prepared(THUMBS, tmp_path, KTO)
    assert [group.desirable for group in data.train] == [(True,), (False,), (False,), (False,)]
    assert [len(group.mismatched) for group in data.train] == [1, 1, 1, 1]
    assert "  1 completions are desirable, 3 are not" in lines(data)
    assert "  warning: desirable_weight = 1, undesirable_weight = 1: with 1 desirable and 3 undesirable" in lines(data)
    assert (data.reports["train"].num_desirable, data.reports["train"].num_undesirable) == (1, 3)


def test_pairs_reach_a_method_of_thumbs_without_a_warning_as_the_kinds_are_even(tmp_path: Path) -> None:
    data = prepared(PAIRS, tmp_path, KTO)
    assert [group.desirable for group in data.train] == [(True, False), (True, False)]
    assert "warning" not in lines(data)


def test_completions_without_a_clear_label_are_reported(tmp_path: Path) -> None:
    rows = [row | {"scores": list(range(len(row["completions"])))} for row in LISTS]
    data = prepared(rows, tmp_path, KTO, pairing="all")
    assert [group.desirable for group in data.train] == [(False, True), (False, True)]
    assert f"  1 completions are both chosen and rejected and were left out: {tmp_path / 'data.jsonl'}:1" in lines(data)


def test_margins_in_the_data_are_required_only_if_the_method_takes_them(tmp_path: Path) -> None:
    without = [{name: value for name, value in row.items() if name != "margin"} for row in PAIRS]
    takes_margins = method_of("chosen", "rejected", "margins")
    assert [group.pairs[0].margin for group in prepared(PAIRS, tmp_path, takes_margins).train] == [2.0, 1.0]
    assert prepared(without, tmp_path).train[0].pairs[0].margin is None
    with pytest.raises(DataError, match=r"data\.jsonl:1: the pair has no margin"):
        prepared(without, tmp_path, takes_margins)


def test_further_scores_are_read_by_name_and_length_is_built_in(tmp_path: Path) -> None:
    rows = [PAIRS[1] | {"chosen_safety": 4, "rejected_safety": 1}]
    data = prepared(rows, tmp_path, auxiliary="safety=0.5,length=-1")
    lengths = data.train[0].completion_lengths
    assert data.train[0].auxiliary == (2.0 - lengths[0], 0.5 - lengths[1])
    with pytest.raises(
        DataError, match=r"data\.jsonl:1: field 'chosen_safety' is missing, but --auxiliary asks for it"
    ):
        prepared(PAIRS, tmp_path, auxiliary="safety=0.5")


def test_weights_of_the_data_or_from_the_first_difference_on(tmp_path: Path) -> None:
    rows = [PAIRS[1] | {"chosen": " 34", "rejected": " 35", "chosen_weights": [[2, 3, 0.5]]}]
    data = prepared(rows, tmp_path, chat="off")
    assert [weights.tolist() for weights in data.train[0].weights] == [[1, 1, 0.5, 1], [1, 1, 1, 1]]
    data = prepared(rows, tmp_path, chat="off", token_weights="from_first_difference")
    assert [weights.tolist() for weights in data.train[0].weights] == [[0, 0, 0.5, 1], [0, 0, 1, 1]]
    assert data.is_weighted


def test_a_setting_that_the_method_has_no_use_for_is_an_error_before_anything_is_read() -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig.of(
            method="sft",
            model="m",
            data="d",
            output="o",
            pairing="all",
            token_weights="from_first_difference",
            epochs=0,
        )
    assert len(caught.value.problems) == 3


def test_the_report_is_all_names_and_numbers(tmp_path: Path) -> None:
    report = prepared(LISTS, tmp_path).reports["train"]
    assert isinstance(report, PartReport)
    path = str(tmp_path / "data.jsonl")
    assert json.loads(json.dumps(asdict(report)))["unpaired"] == [f"{path}:2"]


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


def mixed(**settings: Any) -> PreparedData:
    return prepare_data(TrainConfig.of(model="m", output="o", **settings), TOKENIZER, None)


def sources_of(data: PreparedData, indices: list[int]) -> Counter[str]:
    return Counter(Path(data.train[index].origin.source).stem for index in indices)


def test_an_epoch_holds_as_much_of_each_source_as_its_weight_says(sources: list[str]) -> None:
    data = mixed(data=sources, mix=[0.6, 0.4])
    assert data.mixture is not None
    assert data.mixture.counts == (6, 4)
    assert sources_of(data, data.mixture.draw(0)) == {"many": 6, "few": 4}
    assert "\n  mix: " + sources[0] + ": 6 of 12 prompts per epoch\n" in "\n".join(data.lines())


def test_without_weights_an_epoch_is_all_there_is(sources: list[str]) -> None:
    data = mixed(data=sources)
    assert (data.mixture, list(data.drawn)) == (None, list(range(16)))


def test_only_what_the_run_will_see_is_computed(sources: list[str]) -> None:
    once, twice = mixed(data=sources, mix=[1, 1]), mixed(data=sources, mix=[1, 1], epochs=2)
    assert (len(once.train), len(once.all_groups), len(twice.all_groups)) == (16, 8, 12)
    assert len(mixed(data=sources, mix=[1, 1], epochs=9).all_groups) == 16


def test_steps_may_end_before_or_after_the_epochs() -> None:
    mixture = Mixture(((0, 1, 2, 3, 4, 5), (6, 7)), counts=(2, 2), seed=0)
    assert len(drawn_in(mixture, StepSettings(max_steps=2, batch_size=2, epochs=9), 8)) == 4
    assert len(drawn_in(mixture, StepSettings(max_steps=5, batch_size=2), 8)) == 8
    assert len(drawn_in(mixture, StepSettings(epochs=1.5), 8)) == 6


def test_the_steps_of_an_epoch_cover_its_groups() -> None:
    mixture = Mixture(((0, 1, 2, 3, 4, 5, 6, 7), (8, 9)), counts=(4, 6), seed=0)
    batching = Batching(batch_size=3, max_tokens=1000, layout="packed")
    steps = StepDataset(token_groups(10), Method.named("dpo"), batching, mixture)
    for epoch in (0, 1):
        steps.set_epoch(epoch)
        held = [group for step in range(len(steps)) for group in steps[step].groups]
        assert sorted(held) == mixture.draw(epoch)
        assert sum(steps[step].num_units["dpo"] for step in range(len(steps))) == 10


def test_a_held_out_prompt_is_in_no_epoch_of_any_file(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", 40, "What is")
    second = write(tmp_path / "b.jsonl", 40, "\uff37HAT \u200b is")  # the same prompts, in other letters
    data = mixed(data=[first, second], mix=[1, 1], eval_fraction=0.3)
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
        mixed(data=[folder, sources[0]], mix=[1, 1])


def test_a_source_that_nothing_is_left_of_is_an_error(tmp_path: Path, sources: list[str]) -> None:
    long = write(tmp_path / "long.jsonl", 3, "long " * 200)
    with pytest.raises(ConfigError, match=r"mix: .*long\.jsonl has 0 prompts"):
        prepare_data(
            TrainConfig.of(model="m", output="o", data=[sources[0], long], mix=[1, 1], too_long="drop"), TOKENIZER, 60
        )


def test_pairs_over_the_cap_are_left_out_of_training_and_reported(tmp_path: Path) -> None:
    rows = [{"prompt": "2+2=", "chosen": " 4", "rejected": f" {row}"} for row in range(5, 9)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = mixed(data=str(tmp_path / "a.jsonl"), max_per_prompt=3)
    assert len(data.train) == 3
    assert "  1 pairs, completions or lists are beyond --max-per-prompt and were left out: " in "\n".join(data.lines())


def test_filtered_rows_are_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", 3, "a", score_ratio=1.5)
    write(tmp_path / "b.jsonl", 3, "b", score_ratio=2.5)
    data = mixed(data=str(tmp_path), where="score_ratio>=2")
    assert len(data.train) == 3
    assert f"  3 rows were left out, not score_ratio>=2: the first is {path}:1" in list(data.lines())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"mix": [0.7]}, "mix: has 1 weights for 2 data sources. Give one for each."),
        ({"mix": [0.7, 0]}, "mix = 0: must be above 0"),
        ({"mix": [0.7, float("nan")]}, "mix = nan: must be above 0"),
        ({"data": ["a", "a"], "mix": [1, 1]}, "mix: a data source is named twice."),
        ({"prompts_per_epoch": 9}, "prompts_per_epoch = 9: is the size of a mix. Set mix"),
        ({"prompts_per_epoch": 0, "mix": [1, 1]}, "prompts_per_epoch = 0: must be at least 1."),
        ({"max_per_prompt": 0}, "max_per_prompt = 0: must be at least 1."),
        ({"where": ["lang"]}, "where = 'lang': must be a column"),
    ],
)
def test_invalid_settings_are_reported(changes: dict[str, Any], problem: str) -> None:
    [found] = DataSettings(**{"data": ["a", "b"], **changes}).problems()
    assert found.startswith(problem)


def test_a_mix_survives_its_yaml(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"data": ["a", "b"], "mix": ["0.7", 0.3], "where": "lang=en", "prompts_per_epoch": 10}
    config = TrainConfig.of(model="m", output="o", **settings)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert TrainConfig.read(tmp_path / "config.yaml") == config
    assert (config.data.mix, config.data.where) == ([0.7, 0.3], ["lang=en"])


def test_the_share_that_was_asked_for_and_the_one_that_was_got_are_said(model_folder: Path, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "pairs.jsonl", 32)
    config = config_of(model_folder, data, tmp_path / "run", eval_fraction=0.25)
    prepared = prepare_data(config, make_tokenizer(), None)
    assert len(prepared.held_out) == 8
    assert "  asked 25 %, got 8 of 32 prompts" in list(prepared.lines())
