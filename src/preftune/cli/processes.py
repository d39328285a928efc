"""Which process of a run this is, by what launchers say, without the import of torch."""

import os

from rich.console import Console

__all__ = ["is_main_process", "main_console", "process_name"]


def is_main_process() -> bool:
    """Whether this process speaks for the run: the first one, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def process_name() -> str:
    """Prefix of messages of a process that is not the first."""
    return "" if is_main_process() else f"process {os.environ['RANK']}: "


def main_console() -> Console:
    """Standard output in the main process, silence in others."""
    return Console(quiet=not is_main_process())
