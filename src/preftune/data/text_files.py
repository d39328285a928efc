"""Rows of JSON, JSON Lines and delimited text, compressed or not, each with its line in the file."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from preftune.data.rows import BadRow, Row
from preftune.errors import ConfigError, DataError
from preftune.groups import Origin


class _ZstdReader(io.RawIOBase):
    """Decompressed bytes of a .zst file, frame by frame. zstandard's own reader does not detect a truncated file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._compressed = b""
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while not self._ready:
            self._compressed = self._compressed or self._file.read(1 << 17)
            if not self._compressed:
                if self._frame is not None:
                    raise EOFError("the compressed data is truncated: it has no end marker")
                return 0
            self._decompress()
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def _decompress(self) -> None:
        if self._frame is None:
            self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._ready = self._frame.decompress(self._compressed)
        self._compressed = b""
        if self._frame.eof:
            self._compressed, self._frame = self._frame.unused_data, None

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_gzip(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb"))


def _open_bz2(path: Path) -> IO[bytes]:
    return bz2.open(path, "rb")


def _open_xz(path: Path) -> IO[bytes]:
    return lzma.open(path, "rb")


def _open_zstd(path: Path) -> IO[bytes]:
    return io.BufferedReader(_ZstdReader(path))  # type: ignore[type-var]


COMPRESSIONS: Mapping[str, Callable[[Path], IO[bytes]]] = {
    ".gz": _open_gzip,
    ".bz2": _open_bz2,
    ".xz": _open_xz,
    ".zst": _open_zstd,
}
"""Functions that open a compressed file, by suffix."""


def data_suffix(path: Path) -> str:
    """The suffix of the data format, in lower case and without that of a compression.

    >>> data_suffix(Path("prefs.JSONL.gz")), data_suffix(Path("prefs.csv"))
    ('.jsonl', '.csv')
    """
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in COMPRESSIONS else suffix


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, decompressed by its suffix.

    Returns:
        A stream of bytes. Reading a damaged file raises OSError, EOFError, zlib.error, lzma.LZMAError or
        zstandard.ZstdError.
    """
    opener = COMPRESSIONS.get(path.suffix.lower())
    return opener(path) if opener else path.open("rb")


_LIMIT_VARIABLE = "PREFTUNE_MAX_ROW_MIB"
_DEFAULT_LIMIT_MIB = 64
_ROWS_OF_A_WHOLE_FILE = 16


def longest_row() -> int:
    """Most bytes of a line or field, so that a damaged or hostile file does not fill the memory.

    64 MiB, or the number of MiB in the variable PREFTUNE_MAX_ROW_MIB.

    Raises:
        ConfigError: the variable holds no whole number above 0.
    """
    text = os.environ.get(_LIMIT_VARIABLE, str(_DEFAULT_LIMIT_MIB))
    if not text.isdecimal() or not 0 < int(text) <= 2**20:
        raise ConfigError([f"{_LIMIT_VARIABLE} = {text}: must be a whole number of MiB, such as {_DEFAULT_LIMIT_MIB}."])
    return int(text) * 2**20


def _too_long(what: str, limit: int) -> str:
    return (
        f"{what} is longer than {limit // 2**20:,} MiB: the file may be damaged, or not what its name says. If it is "
        f"right, raise the limit with the environment variable {_LIMIT_VARIABLE}."
    )


def _lines_of(stream: IO[bytes]) -> Iterator[bytes | None]:
    """The lines of a stream; None for one that is too long, which is skipped piece by piece."""
    limit = longest_row()
    while line := stream.readline(limit + 1):
        if len(line) <= limit:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(limit)
        yield None


def _text_lines(stream: io.TextIOWrapper, source: str) -> Iterator[str]:
    """The lines of delimited text.

    Raises:
        DataError: one is too long.
    """
    limit, number = longest_row(), 0
    while line := stream.readline(limit + 1):
        number += 1
        if len(line) > limit:
            raise DataError(f"{source}:{number}: {_too_long('the line', limit)}")
        yield line


def _whole(stream: IO[bytes], source: str) -> bytes:
    """The content of a stream. A plain file may have any size.

    Raises:
        DataError: a compressed one is too long.
    """
    if isinstance(stream, io.BufferedReader) and isinstance(stream.raw, io.FileIO):
        return stream.read()
    limit = _ROWS_OF_A_WHOLE_FILE * longest_row()
    content = stream.read(limit + 1)
    if len(content) > limit:
        raise DataError(
            f"{source}: {_too_long('the decompressed file', limit)} JSON Lines (.jsonl) have no limit for a whole file."
        )
    return content


_STREAM_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError)
_BOM = b"\xef\xbb\xbf"


def load_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: not JSON, or an object that names a field twice, of which only the last would be kept.
        RecursionError: nested too deeply.

    >>> load_json('{"chosen": "4", "chosen": "5"}')
    Traceback (most recent call last):
    ...
    ValueError: an object names 'chosen' twice
    """
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"an object names {next(name for name in names if names.count(name) > 1)!r} twice")
    return found


def read_json_lines(stream: IO[bytes], source: str) -> Iterator[Row | BadRow]:
    """Rows of JSON Lines: one object per line; blank lines are ignored. Origins count lines."""
    limit = longest_row()
    for number, line in enumerate(_lines_of(stream), start=1):
        if line is None:
            yield BadRow(Origin(source, number), _too_long("the line", limit))
            continue
        text = line.removeprefix(_BOM) if number == 1 else line
        if text.strip():
            yield _object_of(text, Origin(source, number))


def _object_of(line: bytes, origin: Origin) -> Row | BadRow:
    try:
        value = load_json(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return BadRow(origin, f"the line is not UTF-8 text: byte {line[error.start]:#04x} at byte {error.start + 1}.")
    except json.JSONDecodeError as error:
        return BadRow(origin, f"the line is not valid JSON: {error.msg} at character {error.colno}.")
    except (RecursionError, ValueError) as error:
        return BadRow(origin, f"the line cannot be read as JSON: {error}.")
    return _row_of(value, origin)


def _row_of(value: object, origin: Origin) -> Row | BadRow:
    if isinstance(value, dict):
        return Row(origin, value)
    return BadRow(origin, f"the row is a JSON {type(value).__name__}, not an object with named fields.")


def read_json(stream: IO[bytes], source: str) -> Iterator[Row | BadRow]:
    """Rows of JSON: a list of objects, or one object per line. Origins count elements, or lines."""
    content = _whole(stream, source)
    if content.removeprefix(_BOM).lstrip().startswith(b"{"):
        yield from _objects(content, source)
        return
    try:
        value = load_json(content.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{source}:{error.lineno}: the file is not valid JSON: {error.msg} at character {error.colno}. "
            "Correct the file; one with an object per line is read as JSON Lines if it is named .jsonl."
        ) from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"{source}: the file cannot be read as JSON: {error}. Correct the file.") from error
    if not isinstance(value, list):
        raise DataError(f"{source}: the file holds a JSON {type(value).__name__}. It must hold a list of objects.")
    for number, element in enumerate(value, start=1):
        yield _row_of(element, Origin(source, number))


def _objects(content: bytes, source: str) -> Iterator[Row | BadRow]:
    """Rows of a file that starts with an object: one row if that is all, JSON Lines otherwise."""
    try:
        value = load_json(content.decode("utf-8-sig"))
    except (RecursionError, ValueError) as error:
        if _is_json(content):
            yield BadRow(Origin(source, 1), f"the object cannot be read: {error}.")
        else:
            yield from read_json_lines(io.BytesIO(content), source)
    else:
        yield _row_of(value, Origin(source, 1))


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content.decode("utf-8-sig"))
    except (RecursionError, ValueError):
        return False
    return True


def read_delimited(stream: IO[bytes], source: str, *, delimiter: str) -> Iterator[Row | BadRow]:
    """Rows of delimited text with a header. A quoted field may contain line breaks. Origins count lines."""
    # The csv module has one limit per process; its default of 128 KiB is less than a long conversation.
    csv.field_size_limit(longest_row())
    # Invalid UTF-8 becomes lone surrogates, which no valid text contains; `_record_of` finds them.
    with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        yield from _records(text, source, delimiter)


def _records(text: io.TextIOWrapper, source: str, delimiter: str) -> Iterator[Row | BadRow]:
    reader = csv.reader(_text_lines(text, source), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if header is None:
                raise DataError(f"{source}:{line}: the header cannot be read: {error}. Correct the file.") from error
            reach = f" It runs on to line {reader.line_num}: a quotation mark may be missing."
            yield BadRow(
                Origin(source, line), f"the record cannot be read: {error}.{reach if reader.line_num > line else ''}"
            )
            continue
        if not record:
            continue
        if header is None:
            header = _checked_header(record, source)
        else:
            yield _record_of(record, header, Origin(source, line))


def _checked_header(record: list[str], source: str) -> list[str]:
    if not all(map(_is_unicode, record)):
        raise DataError(f"{source}: the header is not UTF-8 text. Save the file as UTF-8.")
    twice = sorted({name for name in record if record.count(name) > 1})
    if twice:
        raise DataError(
            f"{source}: the header names {', '.join(map(repr, twice))} twice. Give each column its own name."
        )
    return record


def _record_of(record: list[str], header: list[str], origin: Origin) -> Row | BadRow:
    if len(record) != len(header):
        return BadRow(origin, f"the record has {len(record)} fields, but the header has {len(header)}.")
    if any(not field.isascii() and not _is_unicode(field) for field in record):
        return BadRow(origin, "the record is not UTF-8 text.")
    return Row(origin, dict(zip(header, record, strict=True)))


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


TEXT_READERS: Mapping[str, Callable[[IO[bytes], str], Iterator[Row | BadRow]]] = {
    ".json": read_json,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".csv": partial(read_delimited, delimiter=","),
    ".tsv": partial(read_delimited, delimiter="\t"),
}
"""Readers of text files, by suffix."""


def read_text_file(path: Path, source: str, suffix: str) -> Iterator[Row | BadRow]:
    """Rows of a text file, compressed or not.

    Args:
        suffix: A key of `TEXT_READERS`.
    Returns:
        Rows in order. A malformed row is a `BadRow` and does not end the stream.
    Raises:
        DataError: the file cannot be read, or only in part.
    """
    try:
        with open_bytes(path) as stream:
            yield from TEXT_READERS[suffix](stream, source)
    except _STREAM_ERRORS as error:
        raise DataError(
            f"{source}: the file cannot be read: {error}. It may be damaged or incomplete. Download or write it again."
        ) from error
