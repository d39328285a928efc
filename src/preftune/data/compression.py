"""Data files as streams of bytes, compressed or not."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, cast

import zstandard

__all__ = ["COMPRESSIONS", "data_suffix", "open_bytes"]


class _ZstdReader(io.RawIOBase):
    """Decompressed bytes of a .zst file, frame after frame. zstandard's own reader does not notice a cut-off file."""

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
                    raise EOFError("the compressed data end before their end marker")
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
"""How to open a file, by the suffix of its compression."""


def data_suffix(path: Path) -> str:
    """The suffix that names the kind of data, in lower case, past that of a compression.

    >>> data_suffix(Path("prefs.JSONL.gz")), data_suffix(Path("prefs.csv"))
    ('.jsonl', '.csv')
    """
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in COMPRESSIONS else suffix


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, decompressed by its suffix.

    Args:
        path: A file.
    Returns:
        A stream of bytes. Reading a damaged file raises OSError, EOFError, zlib.error, lzma.LZMAError or
        zstandard.ZstdError.
    """
    opener = COMPRESSIONS.get(path.suffix.lower())
    return opener(path) if opener else path.open("rb")
