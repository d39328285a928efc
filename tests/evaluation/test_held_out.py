import json
from pathlib import Path
from typing import Any

import pytest

from preftune.errors import DataError
from preftune.evaluation.held_out import describe, read_groups, tokens_of
from preftune.groups import Pair
from preftune.settings.evaluation_config import EvaluationConfig
from tests.data.tokenizers_for_tests import make_tokenizer
from tests.runs.inputs import write_pairs
from tests.settings.test_evaluation_config import write_run

LIST = {"prompt": "2+2=", "completions": ["5", "4", "four"], "scores": [0.0, 3.0, 1.0]}


def config_of(data: Path, *rows: dict[str, Any], **settings: Any) -> EvaluationConfig:
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return EvaluationConfig.of(model="m", data=str(data), **settings)


def test_scores_make_pairs_with_margins_and_no_completion_is_lost(tmp_path: Path) -> None:
    (group,) = read_groups(config_of(tmp_path / "data.jsonl", LIST)).groups
    assert len(group.completions) == 3
    assert set(group.pairs) == {Pair(1, 2, 2.0), Pair(1, 0, 3.0), Pair(2, 0, 1.0)}


def test_a_rule_makes_the_pairs_that_training_would_make(tmp_path: Path) -> None:
    (group,) = read_groups(config_of(tmp_path / "data.jsonl", LIST, pairing="best_vs_worst")).groups
    assert group.pairs == (Pair(1, 0, 3.0),)
    assert len(group.completions) == 3


def test_a_run_gives_back_what_it_held_out(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "pairs.jsonl", count=30)
    run = write_run(tmp_path / "run", data=str(data), eval_fraction=0.3, seed=3)
    held_out = read_groups(EvaluationConfig.of(model=str(run))).groups
    assert 4 < len(held_out) < 16
    other = write_run(tmp_path / "other", data=str(data), eval_fraction=0.3, seed=4)
    assert held_out != read_groups(EvaluationConfig.of(model=str(other))).groups
    named = write_run(tmp_path / "named", data="nowhere.jsonl", eval_data=str(data))
    assert len(read_groups(EvaluationConfig.of(model=str(named))).groups) == 30


def test_rows_left_out_and_completions_cut_are_reported(tmp_path: Path) -> None:
    pair = {"prompt": "What is two?", "chosen": " It is one and one.", "rejected": " No"}
    config = config_of(tmp_path / "data.jsonl", pair, {"prompt": "x"}, on_bad_row="skip", max_length=10)
    loaded = read_groups(config)
    assert list(describe(loaded)) == [
        "data: 1 prompts, 1 pairs",
        f"  1 rows could not be used and were left out: {loaded.skipped[0]}, ...",
    ]
    groups, notes = tokens_of(loaded.groups, make_tokenizer(), config, context=256)
    assert max(len(groups[0].prompt) + length for length in groups[0].completion_lengths) <= 10
    assert any("were too long" in note for note in notes)


def test_a_bad_row_is_an_error_unless_it_is_to_be_skipped(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.jsonl:1"):
        read_groups(config_of(tmp_path / "data.jsonl", {"prompt": "x", "chosen": 1, "rejected": "b"}))
