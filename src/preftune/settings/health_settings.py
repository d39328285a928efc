"""What a run does about its health."""

from collections.abc import Iterator
from dataclasses import dataclass

from preftune.settings.setting import setting

__all__ = ["HealthSettings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthSettings:
    """Health"""

    stop_on_sick: bool = setting(
        False, "End the run, with a checkpoint and exit code 3, when a rule of docs/health.md says that it is sick."
    )

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each: nothing."""
        yield from ()
