"""From rows to prompt groups: sources, formats, views, splits by prompt."""

from preftune.data.formats import FORMATS, Format, find_format, recognise
from preftune.data.load import GroupStream, LoadedGroups, OnBadRow, groups_from_rows, iter_groups, load_groups
from preftune.data.presets import PRESETS, Preset
from preftune.data.prompts import normalised_prompt, split_by_prompt
from preftune.data.rows import BadRow, LeftOut, Row
from preftune.data.sources import read_rows

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
