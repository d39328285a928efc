"""The settings of a run as typed keywords, for editors and type checkers.

`python .ci/keywords.py` writes src/preftune/settings/keywords.py, as `make format` does.
"""

import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from preftune.losses import ALL_LOSSES, loss_options
from preftune.losses.options import Option
from preftune.settings import SECTIONS, settings_of

PATH = Path(__file__).parents[1] / "src" / "preftune" / "settings" / "keywords.py"

_HEAD = '''"""Settings of a run as typed keywords. Made from the settings by `make format`; do not edit."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict


class TrainKeywords(TypedDict, total=False):
    """Keywords of `preftune.train` and `TrainConfig.of`: the settings of all sections and the options of losses."""
'''
_WIDER = {"data": " | Iterable[Mapping[str, Any]]", "eval_data": " | Iterable[Mapping[str, Any]]"}
"""Further types that `preftune.train` takes."""


def source() -> str:
    """The content of the file."""
    parts = [_HEAD.rstrip()]
    for section in SECTIONS.values():
        parts += [f"\n    # {section.title}"]
        parts += [_keyword(item.name, item.type, item.help) for item in settings_of(section)]
    parts += ["\n    # Options of the losses"]
    options = {option.name: option for loss in ALL_LOSSES.values() for option in loss_options(loss)}
    parts += [_keyword(name, _type_of(option), option.help) for name, option in options.items()]
    return "\n".join(parts) + "\n"


def _type_of(option: Option) -> Any:
    return Literal[option.choices] if option.choices else option.kind


def _keyword(name: str, kind: Any, text: str) -> str:
    lines = textwrap.wrap(text.replace("\\", "\\\\"), width=113, initial_indent='    """', subsequent_indent="    ")
    return "\n".join([f"    {name}: {_annotation(kind)}{_WIDER.get(name, '')}", *lines]) + '"""'


def _annotation(kind: Any) -> str:
    """The type of a keyword: all that `coerce` takes for a setting of type `kind`."""
    return " | ".join(dict.fromkeys(_alternatives(kind)))


def _alternatives(kind: Any) -> Iterator[str]:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        yield "Literal[" + ", ".join(f'"{word}"' for word in parts) + "]"
    elif origin is list:
        yield from (parts[0].__name__, f"Sequence[{parts[0].__name__}]")
    elif origin is Mapping:
        yield from (f"Mapping[{', '.join(part.__name__ for part in parts)}]", "str")
    elif parts:
        for part in parts:
            yield from _alternatives(part)
    else:
        yield "None" if kind is type(None) else kind.__name__


if __name__ == "__main__":
    PATH.write_text(source(), encoding="utf-8")
    sys.stdout.write(f"{PATH}\n")
