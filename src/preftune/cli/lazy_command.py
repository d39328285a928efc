"""A subcommand that is imported when it is called, so that `preftune --help` waits for no heavy library."""

from importlib import import_module
from typing import Any

import rich_click as click
from typing_extensions import override

__all__ = ["LazyCommand"]


class LazyCommand(click.RichCommand):
    """Stands for the object `command` of a module.

    Args:
        name: Of the subcommand.
        module: Where `command` is.
        help_: A line for the help of the group.
    """

    def __init__(self, name: str, module: str, help_: str) -> None:
        super().__init__(name=name, help=help_)
        self._module = module

    @override
    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        command: click.RichCommand = import_module(self._module).command
        return command.make_context(info_name, args, parent, **extra)
