"""A config field with all that help texts, flags and checks need to know of it."""

from dataclasses import MISSING, Field, field, fields
from typing import Any, get_args, get_origin, get_type_hints

__all__ = ["Setting", "setting", "settings_of"]

_KEY = "preftune"


class Setting:
    """What is known of one config field.

    Args:
        name: Name of the field, and of its flag.
        type: Annotation, resolved.
        default: Value when nothing is said; `MISSING` where it must be given.
        help: A sentence for the help text, with the unit.
    """

    def __init__(self, name: str, type_: Any, default: Any, help_: str) -> None:
        self.name = name
        self.type = type_
        self.default = default
        self.help = help_

    @property
    def flag(self) -> str:
        """How the field is set on the command line, such as `--max-length`."""
        return "--" + self.name.replace("_", "-")

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed words of a `Literal` field, else nothing: a field that takes numbers as well has no such list."""
        kinds = get_args(self.type) if type(None) in get_args(self.type) else (self.type,)
        kinds = tuple(kind for kind in kinds if kind is not type(None))
        is_words = all("Literal" in str(get_origin(kind)) for kind in kinds)
        return tuple(word for kind in kinds for word in get_args(kind)) if is_words else ()


def setting(default: Any, help: str) -> Any:  # noqa: A002
    """A dataclass field with its help text. Lists and mappings are copied for every instance."""
    metadata = {_KEY: help}
    if isinstance(default, (list, dict)):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def settings_of(section: type) -> tuple[Setting, ...]:
    """The settings of a config section, in order."""
    types = get_type_hints(section)
    return tuple(
        Setting(item.name, types[item.name], _default(item), item.metadata[_KEY])
        for item in fields(section)
        if _KEY in item.metadata
    )


def _default(item: Field[Any]) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default
