"""From sources and rows in memory to groups."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.load import groups_from_rows, iter_groups, load_groups
from preftune.data.rows import BadRow, LeftOut
from preftune.errors import ConfigError, DataError
from preftune.groups import Origin, PromptGroup

PAIR = {"prompt": "2+2=", "chosen": "4", "rejected": "5"}


@pytest.fixture
def mixed(tmp_path: Path) -> str:
    """Two good rows around a broken and an incomplete one."""
    path = tmp_path / "prefs.jsonl"
    path.write_text("\n".join([json.dumps(PAIR), "{", json.dumps({"prompt": "?", "chosen": "!"}), json.dumps(PAIR)]))
    return str(path)


def test_bad_rows_are_an_error_that_counts_them_and_ends_with_the_ways_out(mixed: str) -> None:
    with pytest.raises(DataError) as caught:
        load_groups(mixed)
    first, *rows, last = str(caught.value).splitlines()
    assert first == "2 of 4 rows cannot be used:"
    assert rows[0].startswith(f"  {mixed}:2: the line is not valid JSON")
    assert rows[1] == f"  {mixed}:3: field 'rejected' is missing."
    assert last == "Fix these rows, or skip such rows with --on-bad-row skip."


@pytest.mark.parametrize("num_bad", [2, 5, 6, 40])
def test_an_error_counts_all_bad_rows_and_shows_a_few(num_bad: int) -> None:
    with pytest.raises(DataError) as caught:
        groups_from_rows([PAIR, *[PAIR | {"chosen": ""}] * num_bad])
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{num_bad} of {num_bad + 1} rows cannot be used:"
    assert sum(line.startswith("  rows:") for line in lines) == min(num_bad, 5)
    assert (f"  and {num_bad - 5} more" in lines) == (num_bad > 5)


def test_a_missing_field_is_named_with_line_and_ways_out() -> None:
    with pytest.raises(DataError) as caught:
        groups_from_rows([PAIR, {"prompt": "?", "chosen": "!"}], source="prefs")
    assert str(caught.value) == (
        "prefs:2: field 'rejected' is missing. Fix the row, or skip such rows with --on-bad-row skip."
    )


def test_skipped_rows_are_counted_and_named(mixed: str) -> None:
    loaded = load_groups(mixed, on_bad_row="skip")
    assert [group.origin.row for group in loaded.groups] == [1, 4]
    assert loaded.num_rows == 4
    assert [row.origin.row for row in loaded.skipped] == [2, 3]
    assert loaded.skipped[1] == BadRow(Origin(mixed, 3), "field 'rejected' is missing.")


def test_nothing_left_after_skipping_is_an_error() -> None:
    with pytest.raises(DataError, match=r"none of the 2 rows can be used.*The first: rows:1: field 'chosen'"):
        groups_from_rows([PAIR | {"chosen": ""}, PAIR | {"chosen": ""}], on_bad_row="skip")


def test_no_rows_are_an_error() -> None:
    with pytest.raises(DataError, match="rows: there are no rows"):
        groups_from_rows([])
    with pytest.raises(DataError, match="there is no source"):
        load_groups([])


def test_several_sources_are_read_in_order_each_with_its_own_format(tmp_path: Path, mixed: str) -> None:
    other = tmp_path / "turns.csv"
    other.write_text("chosen,rejected\nIt is 4,It is 5\n")
    loaded = load_groups([str(other), mixed], on_bad_row="skip")
    assert [str(group.origin) for group in loaded.groups] == [f"{other}:2", f"{mixed}:1", f"{mixed}:4"]
    assert loaded.num_rows == 5
    folder = load_groups(str(tmp_path), on_bad_row="skip")
    assert len(folder.groups) == 3


def test_columns_are_mapped_before_the_format_is_recognised() -> None:
    rows = [{"prompt": "2+2=", "better": "4", "worse": "5", "chosen": "of another meaning"}]
    loaded = groups_from_rows(rows, columns={"chosen": "better", "rejected": "worse"})
    assert [completion.content for completion in loaded.groups[0].completions] == ["4", "5"]


def test_a_row_without_its_mapped_column_does_not_fall_back_to_one_of_another_meaning() -> None:
    rows = [{"prompt": "2+2=", "better": "4", "rejected": "5"}, PAIR]
    with pytest.raises(DataError, match="rows:2: field 'chosen' is missing"):
        groups_from_rows(rows, columns={"chosen": "better"})


def test_two_columns_may_be_exchanged() -> None:
    loaded = groups_from_rows([PAIR], columns={"chosen": "rejected", "rejected": "chosen"})
    assert [completion.content for completion in loaded.groups[0].completions] == ["5", "4"]


def test_a_mapped_column_that_is_not_there_is_an_error_that_lists_the_columns() -> None:
    with pytest.raises(DataError, match="rows: --columns names 'best', but the columns are: prompt, chosen, rejected"):
        groups_from_rows([PAIR], columns={"chosen": "best"})


def test_a_mapping_to_a_column_that_the_format_does_not_read_is_an_error() -> None:
    with pytest.raises(DataError, match=r"maps to 'chozen', which the format 'pairs' does not read. It reads chat_"):
        groups_from_rows([PAIR | {"better": "4"}], columns={"chozen": "better"})


def test_a_format_can_be_named() -> None:
    rows = [{"prompt": "a b", "chosen": "a b c", "rejected": "a b d"}]
    assert groups_from_rows(rows).groups[0].prompt == "a b"
    assert groups_from_rows(rows, format="transcripts").groups[0].completions[0].content == " c"
    with pytest.raises(DataError, match="there is no format 'pear'"):
        groups_from_rows(rows, format="pear")


def test_columns_that_no_format_has_stop_even_where_bad_rows_are_skipped() -> None:
    with pytest.raises(DataError, match="rows: no format has these columns: text"):
        groups_from_rows([{"text": "a"}], on_bad_row="skip")


@pytest.mark.parametrize("odd", [{}, {"_about": "pairs of 2026"}, {"prompt": "q"}])
def test_rows_of_no_format_before_the_first_that_fits_are_bad_rows(odd: dict[str, str]) -> None:
    rows = [odd, odd, {"prompt": "q", "chosen": "yes", "rejected": "no"}]
    loaded = groups_from_rows(rows, on_bad_row="skip")
    assert [bad.origin.row for bad in loaded.skipped] == [1, 2]
    assert loaded.groups[0].prompt == "q"
    assert (loaded.num_rows, len(loaded.groups)) == (3, 1)


@pytest.mark.parametrize("empty", [[], [[]], [None], {}])
def test_transcripts_without_turns_are_bad_rows(empty: object) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    other = [turns[0], {"role": "assistant", "content": "Go away"}]
    rows: list[dict[str, object]] = [
        {"chosen": turns, "rejected": other},
        {"chosen": empty, "rejected": other},
        {"chosen": empty, "rejected": empty},
    ]
    assert len(groups_from_rows(rows, on_bad_row="skip").skipped) == 2


def test_a_dataset_in_memory_is_as_good_as_a_list() -> None:
    rows = [PAIR, PAIR | {"chosen": "four"}]
    assert groups_from_rows(datasets.Dataset.from_list(rows)).groups == groups_from_rows(rows).groups


def test_a_row_that_is_no_mapping_is_a_bad_row() -> None:
    rows: list[Any] = ["text", PAIR]
    with pytest.raises(DataError, match=r"rows:1: the row is of type str. It must map columns to values. Give a list"):
        groups_from_rows(rows)
    assert groups_from_rows(rows, on_bad_row="skip").num_rows == 2


def test_nan_in_json_is_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": "a", "chosen": "b", "rejected": "c", "margin": NaN}')
    with pytest.raises(DataError, match=r"a.jsonl:1: field 'margin' is nan"):
        load_groups(str(path))


def test_an_unknown_choice_for_bad_rows_is_an_error() -> None:
    with pytest.raises(ConfigError, match="on_bad_row = 'ignore': must be 'error' or 'skip'"):
        groups_from_rows([PAIR], on_bad_row="ignore")  # type: ignore[arg-type]


def test_a_progress_bar_goes_to_standard_error_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    loaded = groups_from_rows([PAIR], show_progress=True)
    assert loaded == groups_from_rows([PAIR])
    assert capsys.readouterr().out == ""


PAIR_LINE: dict[str, Any] = {"prompt": "2+2=", "chosen": "4", "rejected": "5", "lang": "en"}


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_groups_bad_rows_and_rows_that_are_not_wanted_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl", "{\n", PAIR_LINE, PAIR_LINE | {"chosen": ""}, PAIR_LINE | {"lang": "de"}, PAIR_LINE
    )
    stream = iter_groups(path, where=["lang=en"])
    items = list(stream)
    assert [type(item) for item in items] == [BadRow, PromptGroup, BadRow, LeftOut, PromptGroup]
    assert [item.origin.row for item in items] == [1, 2, 3, 4, 5]
    assert stream.num_rows == 5


def test_rows_are_counted_and_sources_reported_while_reading(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", PAIR_LINE, PAIR_LINE)
    second = write(tmp_path / "b.jsonl", PAIR_LINE)
    stream = iter_groups([first, second])
    assert [(item.origin.row, stream.num_rows, stream.source) for item in stream] == [(1, 1, 0), (2, 2, 0), (1, 3, 1)]


def test_a_file_of_bad_rows_only_gives_them_all(tmp_path: Path) -> None:
    stream = iter_groups(write(tmp_path / "a.jsonl", "{\n", "[]\n"))
    assert [type(item) for item in stream] == [BadRow, BadRow]
    assert stream.num_rows == 2


def test_a_source_that_is_not_there_is_an_error_when_it_is_its_turn(tmp_path: Path) -> None:
    stream = iter_groups([write(tmp_path / "a.jsonl", PAIR_LINE), str(tmp_path / "b.jsonl")])
    assert isinstance(next(stream), PromptGroup)
    with pytest.raises(DataError, match=r"b\.jsonl: there is no such file"):
        next(stream)


def test_a_malformed_condition_is_reported_at_once() -> None:
    with pytest.raises(ConfigError, match="where = 'good': must be a column"):
        iter_groups("no-such-file.jsonl", where=["good"])


def test_loading_is_collecting_the_stream(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", PAIR_LINE, PAIR_LINE | {"chosen": ""}, PAIR_LINE | {"lang": "de"})
    loaded = load_groups([path, path], where=["lang=en"], on_bad_row="skip")
    assert [*loaded.groups, *loaded.skipped, *loaded.left_out] == sorted(
        iter_groups([path, path], where=["lang=en"]),
        key=lambda item: [PromptGroup, BadRow, LeftOut].index(type(item)),
    )
    assert (loaded.num_rows, loaded.num_by_source) == (6, (1, 1))


def test_all_rows_left_out_is_an_error_that_says_why(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", PAIR_LINE)
    with pytest.raises(
        DataError, match=r"all 1 rows were left out, .*The first: .*a\.jsonl:1: not lang=fr\. Check --wh"
    ):
        load_groups(path, where=["lang=fr"])


def test_a_condition_on_a_column_that_is_not_there_lists_the_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", PAIR_LINE)
    with pytest.raises(
        DataError, match="--where names 'language', but the columns are: prompt, chosen, rejected, lang"
    ):
        load_groups(path, where=["language=en"])


def test_a_row_whose_column_cannot_be_compared_is_a_bad_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", PAIR_LINE | {"votes": 3}, PAIR_LINE | {"votes": "many"}, PAIR_LINE)
    loaded = load_groups(path, where=["votes>2"], on_bad_row="skip")
    assert [str(row) for row in loaded.skipped] == [f"{path}:2: field 'votes' is 'many'. It must be a number."]
    assert [str(row) for row in loaded.left_out] == [f"{path}:3: not votes>2"]


def test_conditions_hold_for_the_names_of_the_file_not_for_those_that_are_mapped(tmp_path: Path) -> None:
    rows = [{"prompt": "2+2=", "better": "4", "worse": "5", "chosen": choice} for choice in ("left", "right")]
    columns = {"chosen": "better", "rejected": "worse"}
    loaded = load_groups(write(tmp_path / "a.jsonl", *rows), columns=columns, where=["chosen=left"])
    assert [group.origin.row for group in loaded.groups] == [1]


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    row = json.dumps(PAIR_LINE | {"prompt": "x" * 1000}) + "\n"
    peaks = []
    for count in (1_000, 8_000):
        path = write(tmp_path / f"{count}.jsonl", *[row] * count)
        tracemalloc.start()
        assert sum(1 for _ in iter_groups(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000  # 8 MB of text would be held otherwise


@settings(max_examples=50, deadline=None, database=None)
@given(rows=st.lists(st.sampled_from(["good", "bad", "unwanted"]), min_size=1, max_size=9))
def test_every_row_gives_exactly_one_item(tmp_path_factory: pytest.TempPathFactory, rows: list[str]) -> None:
    kinds = {"good": PAIR_LINE, "bad": PAIR_LINE | {"rejected": None}, "unwanted": PAIR_LINE | {"lang": "de"}}
    path = write(tmp_path_factory.mktemp("rows") / "a.jsonl", *(kinds[row] for row in rows))
    stream = iter_groups(path, where=["lang!=de"])
    expected = {"good": PromptGroup, "bad": BadRow, "unwanted": LeftOut}
    assert [type(item) for item in stream] == [expected[row] for row in rows]
    assert stream.num_rows == len(rows)
