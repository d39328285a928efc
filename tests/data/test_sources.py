"""Rows of every kind of file, with their true places."""

import bz2
import gzip
import json
import lzma
import re
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.data.load import load_groups
from preftune.data.rows import BadRow, Row
from preftune.data.sources import read_rows
from preftune.errors import DataError

ROWS = [{"prompt": "2+2=", "chosen": "4", "rejected": "5"}, {"prompt": "ü?", "chosen": "ä", "rejected": "ö"}]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def fields(source: str, split: str | None = None) -> list[object]:
    return [dict(row.fields) if isinstance(row, Row) else row for row in read_rows(source, split=split)]


def places(source: str) -> list[int]:
    return [row.origin.row for row in read_rows(source)]


def bad_rows(source: str) -> list[BadRow]:
    return [row for row in read_rows(source) if isinstance(row, BadRow)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", JSONL),
        ("a.ndjson", JSONL.rstrip(b"\n")),
        ("crlf.jsonl", JSONL.replace(b"\n", b"\r\n")),
        ("bom.jsonl", b"\xef\xbb\xbf" + JSONL),
        ("a.json", json.dumps(ROWS, indent=2).encode()),
        ("bom.json", b"\xef\xbb\xbf" + json.dumps(ROWS).encode()),
        ("lines.json", JSONL),
        ("a.csv", "prompt,chosen,rejected\n2+2=,4,5\nü?,ä,ö\n".encode()),
        ("bom.csv", "\ufeffprompt,chosen,rejected\r\n2+2=,4,5\r\n\r\nü?,ä,ö\r\n".encode()),
        ("a.tsv", "prompt\tchosen\trejected\n2+2=\t4\t5\nü?\tä\tö\n".encode()),
        ("UPPER.JSONL.GZ", gzip.compress(JSONL, mtime=0)),
        ("a.jsonl.bz2", bz2.compress(JSONL)),
        ("a.jsonl.xz", lzma.compress(JSONL)),
        ("a.jsonl.zst", zstandard.compress(JSONL)),
        ("frames.jsonl.zst", zstandard.compress(JSONL[:20]) + zstandard.compress(JSONL[20:])),
        ("a.csv.gz", gzip.compress("prompt,chosen,rejected\n2+2=,4,5\nü?,ä,ö\n".encode(), mtime=0)),
    ],
)
def test_a_text_file_gives_its_rows(tmp_path: Path, name: str, content: bytes) -> None:
    assert fields(write(tmp_path / name, content)) == ROWS


def test_a_parquet_file_gives_its_rows_counted_from_one(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    assert fields(str(path)) == ROWS
    assert places(str(path)) == [1, 2]


def test_origins_are_the_true_lines_of_the_file(tmp_path: Path) -> None:
    assert places(write(tmp_path / "a.jsonl", b'\n{"a": 1}\n\n \nnot json\n{"a": 2}')) == [2, 5, 6]
    assert places(write(tmp_path / "a.csv", b'a,b\n1,"two\nlines"\n\n2,3\n4\n5,6\n')) == [2, 5, 6, 7]
    assert places(write(tmp_path / "a.json", b'[{"a": 1}, 2,\n\n{"a": 3}]')) == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n{"a": 2}\n', r"a\.jsonl:2: .*not UTF-8 text: byte 0xff at byte 8"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n{"a": 2}\n', r"a\.jsonl:2: .*not valid JSON: Expecting value at character"),
        ("a.jsonl", b'{"a": 1}\n[1]\n{"a": 2}\n', r"a\.jsonl:2: the row is a JSON list, not an object"),
        ("a.jsonl", b'{"a": 1}\n' + b"[" * 100_000 + b'\n{"a": 2}\n', r"a\.jsonl:2: .*cannot be read as JSON"),
        ("a.jsonl", b'{"a": 1}\n{"a": ' + b"9" * 5000 + b'}\n{"a": 2}\n', r"a\.jsonl:2: .*cannot be read as JSON"),
        ("a.csv", b"a,b\n1,2\n3\n4,5\n", r"a\.csv:3: the record has 1 fields, but the header has 2"),
        ("a.csv", b"a,b\n1,2\n3,4,5\n4,5\n", r"a\.csv:3: the record has 3 fields, but the header has 2"),
        ("a.csv", b"a,b\n1,2\n3,\xff\n4,5\n", r"a\.csv:3: the record is not UTF-8 text"),
        ("a.csv", b'a,b\n1,2\n3,"x"y\n4,5\n', r"a\.csv:3: the record cannot be read"),
        ("a.csv", b'a,b\n1,2\n4,5\n3,"never closed\n6,7\n', r"a\.csv:4: .*It runs on to line 5: a quotation mark"),
    ],
)
def test_a_malformed_row_does_not_end_the_stream(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    source = write(tmp_path / name, content)
    [bad] = bad_rows(source)
    assert re.search(problem, str(bad))
    assert len(list(read_rows(source))) == 3


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", b"", "there are no rows"),
        ("a.csv", b"a,b\n", "there are no rows"),
        ("a.json", b"[]", "there are no rows"),
        ("a.json", b"", r"a\.json:1: the file is not valid JSON"),
        ("a.json", b'[{"a": 1},\n{"a": }]', r"a\.json:2: the file is not valid JSON: Expecting value at character 7"),
        ("a.json", b"3", "holds a JSON int. It must hold a list of objects"),
        ("a.json", b'["\xff"]', "cannot be read as JSON"),
        ("a.csv", b"a,a\n1,2\n", "names 'a' twice"),
        ("a.csv", b"a,\xff\n1,2\n", "header is not UTF-8"),
        ("a.csv", b'a,"b', "header cannot be read"),
        ("a.jsonl.gz", b"no gzip", "cannot be read.*damaged"),
        ("a.jsonl.gz", gzip.compress(JSONL, mtime=0)[:-12], "cannot be read.*damaged or incomplete"),
        ("a.jsonl.bz2", bz2.compress(JSONL)[:-12], "cannot be read.*damaged or incomplete"),
        ("a.jsonl.xz", lzma.compress(JSONL)[:-12], "cannot be read.*damaged or incomplete"),
        ("a.jsonl.zst", zstandard.compress(JSONL)[:-12], "cannot be read.*damaged or incomplete"),
        ("a.jsonl.zst", b"no zstd", "cannot be read.*damaged"),
        ("a.parquet", b"no parquet", "cannot be read as Parquet"),
        ("a.txt", b"text", "does not say which kind of file.*jsonl.*zst.*parquet"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_that_names_it(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    source = write(tmp_path / name, content)
    with pytest.raises(DataError, match=problem) as caught:
        list(read_rows(source))
    assert str(caught.value).startswith(source)


def test_a_record_longer_than_the_csv_default_is_read(tmp_path: Path) -> None:
    assert fields(write(tmp_path / "a.csv", b"a,b\n1," + b"x" * 200_000)) == [{"a": "1", "b": "x" * 200_000}]


def test_a_folder_of_files_is_read_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    first = write(tmp_path / "data" / "more.jsonl", b'{"a": 1}\n')
    second = write(tmp_path / "data" / "train-0.jsonl.gz", gzip.compress(b'{"a": 2}\n', mtime=0))
    write(tmp_path / "README.md", b"no data")
    write(tmp_path / ".hidden.jsonl", b'{"a": 3}\n')
    assert [str(row.origin) for row in read_rows(str(tmp_path))] == [f"{first}:1", f"{second}:1"]
    assert fields(str(tmp_path), split="train") == [{"a": 2}]
    with pytest.raises(DataError, match=r"no file of the folder has the split 'dev'.*train-0"):
        fields(str(tmp_path), split="dev")


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["train.jsonl", "test.jsonl"], ["train", "test"]),
        (["data/train-00000-of-00001.jsonl", "data/validation-00000-of-00001.jsonl"], ["train", "validation"]),
        (["train/a.jsonl", "dev/a.jsonl"], ["train", "dev"]),
        (["train_prefs-0.jsonl", "train_prefs-1.jsonl", "test_prefs-0.jsonl"], ["train_prefs", "test_prefs"]),
        (["prefs_Train.jsonl", "prefs_eval.jsonl", "other.jsonl"], ["prefs_Train", "prefs_eval"]),
    ],
)
def test_a_folder_of_several_splits_is_not_merged(tmp_path: Path, files: list[str], splits: list[str]) -> None:
    for number, file in enumerate(files):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        write(tmp_path / file, f'{{"a": {number}}}\n'.encode())
    with pytest.raises(
        DataError, match=r"the folder has files of 2 splits: .* Name one of them with --split"
    ) as caught:
        fields(str(tmp_path))
    assert all(split in str(caught.value) for split in splits)
    wanted = {split: [{"a": number} for number, file in enumerate(files) if split in file] for split in splits}
    assert {split: fields(str(tmp_path), split=split) for split in splits} == wanted


def test_a_split_may_be_a_word_of_the_name(tmp_path: Path) -> None:
    for number, name in enumerate(("train_prefs", "test_prefs")):
        write(tmp_path / f"{name}.jsonl", f'{{"a": {number}}}\n'.encode())
    assert fields(str(tmp_path), split="test") == [{"a": 1}]


@pytest.mark.parametrize("name", ["dataset_infos.json", "dataset_info.json", "state.json", "croissant.json"])
def test_the_metadata_of_a_cloned_repository_are_no_rows(tmp_path: Path, name: str) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "contest.jsonl", b'{"a": 1}\n')
    write(tmp_path / "data" / name, b'{"default": {}}')
    write(tmp_path / ".gitattributes", b"*.parquet filter=lfs")
    assert fields(str(tmp_path)) == [{"a": 1}]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
@pytest.mark.parametrize("row", [b'{"a": 1, "b": 2, "a": 1}', b'{"b": {"c": [{"a": 1, "a": 2}]}}'])
def test_an_object_that_names_a_field_twice_cannot_be_used(tmp_path: Path, name: str, row: bytes) -> None:
    [found] = fields(write(tmp_path / name, row))
    assert isinstance(found, BadRow)
    assert "an object names 'a' twice" in found.problem
    good, bad = fields(write(tmp_path / name, b'{"a": 1}\n' + row))
    assert good == {"a": 1}
    assert isinstance(bad, BadRow)


def test_a_list_with_an_object_that_names_a_field_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="an object names 'a' twice"):
        fields(write(tmp_path / "a.json", b'[{"a": 1, "a": 2}]'))


def test_a_folder_without_data_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the folder has no data files. Supported are .*\.parquet"):
        fields(str(tmp_path))


def test_a_saved_dataset_gives_its_rows(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "saved"))
    assert fields(str(tmp_path / "saved")) == ROWS
    with pytest.raises(DataError, match=r"no split 'train'.*Leave --split out"):
        fields(str(tmp_path / "saved"), split="train")


def test_a_saved_dataset_dict_gives_the_rows_of_one_split(tmp_path: Path) -> None:
    splits = {"train": datasets.Dataset.from_list(ROWS), "test": datasets.Dataset.from_list(ROWS[:1])}
    source = str(tmp_path / "saved")
    datasets.DatasetDict(splits).save_to_disk(source)
    assert fields(source, split="test") == ROWS[:1]
    assert [str(row.origin) for row in read_rows(source, split="test")] == [f"{source}[test]:1"]
    with pytest.raises(DataError, match=r"has 2 splits: train, test. Name one of them with --split"):
        fields(source)
    with pytest.raises(DataError, match=r"there is no split 'dev'. The splits are: train, test"):
        fields(source, split="dev")


def test_a_hub_dataset_gives_the_rows_of_its_split(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, split: str) -> datasets.Dataset:
        assert (name, split) == ("someone/prefs", "train")
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda _: ["train"])
    assert fields("someone/prefs", split="train") == fields("someone/prefs") == ROWS
    assert [str(row.origin) for row in read_rows("someone/prefs")][1] == "someone/prefs[train]:2"
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda _: ["train", "test"])
    with pytest.raises(DataError, match="someone/prefs: the data set has 2 splits: train, test"):
        fields("someone/prefs")


def raiser(error: Exception) -> Callable[..., object]:
    def raise_it(*_: object, **__: object) -> object:
        raise error

    return raise_it


@pytest.mark.parametrize("error", [ConnectionError("no route"), ValueError("no config"), FileNotFoundError("gone")])
def test_a_hub_that_cannot_be_reached_is_an_error_with_both_readings(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(datasets, "load_dataset", raiser(error))
    with pytest.raises(DataError, match=r"someone/prefs: no file or folder here .*hub it cannot be loaded.*connection"):
        fields("someone/prefs", split="train")


@pytest.mark.parametrize("source", ["missing.jsonl", "./missing", "a/b/c", "missing.jsonl.gz", "missing.parquet"])
def test_a_path_that_is_not_there_is_an_error_without_asking_the_hub(source: str) -> None:
    with pytest.raises(DataError, match=r"there is no such file or folder. Correct the path; it is looked up from"):
        fields(source)


def test_a_split_of_a_single_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a single file has no split 'train'. Leave --split out"):
        fields(write(tmp_path / "a.jsonl", JSONL), split="train")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.jsonl.gz", "a.jsonl.zst"])
@settings(max_examples=40, deadline=None, database=None)
@given(garbage=st.binary(max_size=200), before=st.booleans())
def test_garbage_raises_only_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, name: str, garbage: bytes, before: bool
) -> None:
    source = write(tmp_path_factory.mktemp("garbage") / name, garbage + JSONL if before else JSONL + garbage)
    try:
        loaded = load_groups(source, on_bad_row="skip")
    except DataError:
        return
    assert loaded.num_rows == len(loaded.groups) + len(loaded.skipped)
