"""From data settings to token groups, for methods of each kind."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from preftune.errors import ConfigError, DataError
from preftune.losses import Argument, Loss, Method, Part
from preftune.losses.thumbs import kto
from preftune.runs.part_report import PartReport
from preftune.runs.prepare_data import PreparedData, prepare_data
from preftune.settings import TrainConfig
from tests.data.tokenizers_for_tests import make_tokenizer

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
    """A method that takes this, whatever losses there are."""
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


def test_lists_reach_a_method_of_pairs_and_what_is_left_out_is_told(tmp_path: Path) -> None:
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
    assert "1 pairs have scores nearer than --min-score-gap" in lines(wide)


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


def test_completions_that_are_no_clear_thumbs_are_told(tmp_path: Path) -> None:
    rows = [row | {"scores": list(range(len(row["completions"])))} for row in LISTS]
    data = prepared(rows, tmp_path, KTO, pairing="all")
    assert [group.desirable for group in data.train] == [(False, True), (False, True)]
    assert f"  1 completions are both chosen and rejected and were left out: {tmp_path / 'data.jsonl'}:1" in lines(data)


def test_margins_are_asked_of_the_data_only_where_the_method_takes_them(tmp_path: Path) -> None:
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
    data = prepared(rows, tmp_path)
    assert [weights.tolist() for weights in data.train[0].weights] == [[1, 1, 0.5, 1], [1, 1, 1, 1]]
    data = prepared(rows, tmp_path, token_weights="from_first_difference")
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
