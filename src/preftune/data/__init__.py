"""From rows to prompt groups: sources, formats, views, splits by prompt."""

from preftune.data.formats import FORMATS, Format, find_format, recognise
from preftune.data.group_stream import GroupStream
from preftune.data.load import LoadedGroups, OnBadRow, groups_from_rows, iter_groups, load_groups
from preftune.data.normalised import normalised_prompt
from preftune.data.presets import PRESETS, Preset
from preftune.data.rows import BadRow, LeftOut, Row
from preftune.data.sources import read_rows
from preftune.data.splits import split_by_prompt

__all__ = [
    "FORMATS",
    "PRESETS",
    "BadRow",
    "Format",
    "GroupStream",
    "LeftOut",
    "LoadedGroups",
    "OnBadRow",
    "Preset",
    "Row",
    "find_format",
    "groups_from_rows",
    "iter_groups",
    "load_groups",
    "normalised_prompt",
    "read_rows",
    "recognise",
    "split_by_prompt",
]
