"""How much reference passes compute, counted over whatever is run inside a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["PassCount", "count_passes", "report_pass"]


@dataclass(slots=True)
class PassCount:
    """What reference passes did.

    Args:
        num_computed: Completions that were run.
        num_kept: Completions whose log-prob was there already.
    """

    num_computed: int = 0
    num_kept: int = 0


_counts: ContextVar[tuple[PassCount, ...]] = ContextVar("counts", default=())


@contextmanager
def count_passes() -> Iterator[PassCount]:
    """Count the passes inside the block, those inside an inner block too.

    >>> with count_passes() as outer:
    ...     with count_passes() as inner:
    ...         report_pass(num_computed=3, num_kept=1)
    ...     report_pass(num_computed=0, num_kept=4)
    >>> outer, inner
    (PassCount(num_computed=3, num_kept=5), PassCount(num_computed=3, num_kept=1))
    """
    count = PassCount()
    token = _counts.set((*_counts.get(), count))
    try:
        yield count
    finally:
        _counts.reset(token)


def report_pass(*, num_computed: int, num_kept: int) -> None:
    """Tell whoever counts what a pass did."""
    for count in _counts.get():
        count.num_computed += num_computed
        count.num_kept += num_kept
