"""Which format a set of columns is."""

from pathlib import Path

import pytest

from preftune.data.convert import TARGETS
from preftune.data.formats.format import Format
from preftune.data.formats.table import FORMATS, recognise
from preftune.data.presets import PRESETS

PUBLISHED = {
    "pairs": "prompt prompt_id chosen rejected messages score_chosen score_rejected",
    "lists": "id prompt completions ranks",
    "thumbs": "prompt completion label",
    "demonstrations": "messages source",
    "comparisons": "prompt completion_1 completion_2 preference margin",
    "ultrafeedback": "source instruction models completions correct_answers incorrect_answers",
    "nectar": "prompt answers turns num_responses source good_natured",
    "summaries": "info summaries choice worker batch split extra",
    "shp": "post_id domain upvote_ratio history c_root_id_A c_root_id_B created_at_utc_A created_at_utc_B score_A "
    "score_B human_ref_A human_ref_B labels seconds_difference score_ratio",
    "stack_exchange": "qid question answers date metadata",
    "orca": "system question chosen rejected",
    "alpaca_eval": "instruction output_1 generator_1 dataset output_2 generator_2 annotator preference "
    "raw_completion price_per_example time_per_example",
    "alpaca": "instruction input output text",
    "message_rows": "message_id parent_id user_id created_date text role lang review_count review_result deleted rank "
    "synthetic model_name detoxify message_tree_id tree_state emojis labels",
    "message_trees": "message_tree_id tree_state prompt origin",
    "sharegpt": "id conversations chosen rejected",
    "transcripts": "chosen rejected",
    "reviews": "text label",
}
CASES = [(known, names) for known in FORMATS for names in known.required]


@pytest.mark.parametrize(("known", "names"), CASES, ids=[f"{known.name}-{names[-1]}" for known, names in CASES])
def test_a_format_is_recognised_by_the_columns_it_needs_and_by_all_that_it_reads(
    known: Format, names: tuple[str, ...]
) -> None:
    assert recognise(names).name == known.name
    assert recognise([*known.optional, *names]).name == known.name


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_format_is_recognised_by_the_columns_that_are_published(name: str) -> None:
    assert recognise(PUBLISHED[name].split()).name == name


def test_the_published_columns_of_every_format_are_tried() -> None:
    assert set(PUBLISHED) == {known.name for known in FORMATS}


def test_no_two_formats_share_a_name_or_the_columns_they_need() -> None:
    assert len({known.name for known in FORMATS}) == len(FORMATS)
    assert len({frozenset(names) for _, names in CASES}) == len(CASES)


def test_the_page_on_data_has_a_row_for_each_format_target_and_preset() -> None:
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    for name in [known.name for known in FORMATS] + list(TARGETS):
        assert f"\n| `{name}` | " in page
    for name, preset in PRESETS.items():
        [row] = [line for line in page.splitlines() if line.startswith(f"| `{name}` | [{preset.hub_id}]")]
        assert f" | `{preset.format}` | " in row
        assert row.endswith(f"| {preset.licence} |")
