"""Row layouts: how a row becomes a prompt group."""

from preftune.data.formats.table import FORMATS, Format, find_format, recognise

__all__ = ["FORMATS", "Format", "find_format", "recognise"]
