"""Rows of tables are the rows that were written."""

from pathlib import Path
from typing import Any

import datasets
import numpy
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.load import groups_from_rows
from preftune.data.rows import BadRow
from preftune.data.sources import read_rows
from preftune.data.tables import as_written, located, read_parquet
from preftune.errors import DataError


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [{"function": {"name": name, "arguments": arguments}}]}


USER = {"role": "user", "content": "Weather?"}
ROWS = [
    {"messages": [USER, call("weather", city="Paris")]},
    {"messages": [USER, call("time", zone="CET", at={"hour": 3})]},
]
MIXED = [{"messages": [USER, call("weather", city="Paris", near=None)]}, {"messages": [USER, call("time", zone=1)]}]


def rows_of(source: str) -> list[Any]:
    return [row if isinstance(row, BadRow) else dict(row.fields) for row in read_rows(source)]


def test_text_of_a_parquet_file_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    texts = pyarrow.array([b"ok", b"\xf2\x28"], pyarrow.binary()).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"prompt": texts}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet: 'utf-8' codec can't decode"):
        list(read_parquet(tmp_path / "a.parquet", "a.parquet"))


def test_fields_of_other_rows_are_not_in_a_row_of_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    assert rows_of(str(path)) == ROWS


def test_fields_of_other_rows_are_not_in_a_row_of_a_saved_data_set(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "saved"))
    assert rows_of(str(tmp_path / "saved")) == ROWS


def test_fields_of_other_rows_are_not_in_a_row_of_a_data_set_or_frame_in_memory() -> None:
    data = datasets.Dataset.from_list(ROWS)
    sources: list[Any] = [data, pandas.DataFrame(ROWS), data.to_pandas()]
    for rows in sources:
        assert [dict(row.fields) for row in located(rows, "rows") if not isinstance(row, BadRow)] == ROWS
        assert groups_from_rows(rows) == groups_from_rows(ROWS)


def test_columns_of_the_type_json_are_values_in_every_kind_of_file(tmp_path: Path) -> None:
    data = datasets.Dataset.from_list(MIXED, on_mixed_types="use_json")
    data.to_parquet(str(tmp_path / "a.parquet"))
    data.save_to_disk(str(tmp_path / "saved"))
    assert rows_of(str(tmp_path / "a.parquet")) == rows_of(str(tmp_path / "saved")) == MIXED
    assert groups_from_rows(data).groups == groups_from_rows(MIXED).groups


SCALARS = st.integers(0, 9)
OBJECTS = st.recursive(
    st.dictionaries(st.sampled_from("abc"), SCALARS, min_size=1),
    lambda inner: st.dictionaries(st.sampled_from("xyz"), inner | st.lists(inner, min_size=1, max_size=2), min_size=1),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(OBJECTS, min_size=1, max_size=4))
def test_nested_objects_survive_a_table(objects: list[dict[str, Any]]) -> None:
    rows = [{"value": value} for value in objects]
    try:
        table = pyarrow.Table.from_pylist(rows)
    except pyarrow.ArrowException:  # a field is an object in one row and a list in another
        return
    assert [as_written(row) for row in table.to_pylist()] == rows


def test_a_frame_is_as_good_as_its_rows_and_missing_values_are_blank() -> None:
    rows: list[dict[str, Any]] = [{"prompt": "2+2=", "chosen": "4", "rejected": "5", "margin": 0.5}]
    rows.append({"prompt": "?", "chosen": "a", "rejected": "b"})
    assert groups_from_rows(pandas.DataFrame(rows, index=[7, 3])) == groups_from_rows(rows)


def test_a_frame_of_mixed_types_is_an_error_with_the_way_out() -> None:
    frame = pandas.DataFrame({"prompt": ["a", 3], "chosen": ["b", {"a": 1}], "rejected": ["c", "d"]})
    with pytest.raises(DataError, match=r"rows: the frame cannot be read: .*frame.to_dict\('records'\)"):
        groups_from_rows(frame)


@pytest.mark.parametrize("rows", [["text"], [3], [numpy.zeros(3)]])
def test_rows_of_no_use_say_what_to_give(rows: Any) -> None:
    with pytest.raises(DataError, match=r"rows:1: the row is of type .* Give a list of dicts, a Dataset or a pandas"):
        groups_from_rows(rows)
