"""Row layouts: how rows become prompt groups."""

from preftune.data.formats.format import Format
from preftune.data.formats.table import FORMATS, find_format, recognise

__all__ = ["FORMATS", "Format", "find_format", "recognise"]
