"""A progress bar on the terminal."""

from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, *, total: int | None, show: bool) -> Iterable[Item]:
    """The items, with a progress bar on standard error while they are consumed.

    Args:
        show: If false, the items are returned as they are.
    """
    if not show:
        return items
    from rich.markup import escape
    from rich.progress import track as track_with_rich

    from preftune.files.terminal import PlainConsole

    return track_with_rich(items, escape(description), total=total, console=PlainConsole(stderr=True))
