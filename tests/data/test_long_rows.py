"""Files whose rows are too long to be rows: compressed bombs, and lines without an end."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import zstandard

from preftune.data.rows import BadRow
from preftune.data.sources import read_rows
from preftune.data.text_files import longest_row
from preftune.errors import ConfigError, DataError

MIB = 2**20
PACK: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: zstandard.ZstdCompressor().compress(content),
}


@pytest.fixture(autouse=True)
def _small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFTUNE_MAX_ROW_MIB", "1")


@pytest.mark.parametrize("suffix", PACK)
def test_a_line_that_is_too_long_is_a_bad_row_and_the_next_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"prefs.jsonl{suffix}"
    path.write_bytes(PACK[suffix](b'{"a": 1}\n' + b"0" * (3 * MIB) + b'\n{"a": 2}\n'))
    rows = list(read_rows(str(path)))
    assert [type(row) is BadRow for row in rows] == [False, True, False]
    assert [row.origin.row for row in rows] == [1, 2, 3]
    assert "longer than 1 MiB" in str(rows[1])
    assert "PREFTUNE_MAX_ROW_MIB" in str(rows[1])


@pytest.mark.parametrize("suffix", PACK)
def test_a_line_of_delimited_text_that_is_too_long_ends_the_reading(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"prefs.csv{suffix}"
    path.write_bytes(PACK[suffix](b"a,b\n1,2\n" + b"0" * (3 * MIB)))
    with pytest.raises(DataError, match=r"prefs\.csv.*:3: the line is longer than 1 MiB.*PREFTUNE_MAX_ROW_MIB"):
        list(read_rows(str(path)))


@pytest.mark.parametrize("suffix", [suffix for suffix in PACK if suffix])
def test_a_compressed_list_that_is_too_long_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"prefs.json{suffix}"
    path.write_bytes(PACK[suffix](b"[" + b" " * (17 * MIB)))
    with pytest.raises(DataError, match=r"the decompressed file is longer than 16 MiB.*PREFTUNE_MAX_ROW_MIB"):
        list(read_rows(str(path)))


@pytest.mark.parametrize("text", ["0", "-1", "much", "", "9" * 30])
def test_a_limit_that_is_no_size_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PREFTUNE_MAX_ROW_MIB", text)
    with pytest.raises(ConfigError, match="PREFTUNE_MAX_ROW_MIB"):
        longest_row()
