"""Options of the benchmarks."""

from dataclasses import dataclass

__all__ = ["Options"]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a measurement.

    Args:
        rounds: How often each side is timed.
        smoke: Whether sizes are so small that only the code is tried.
        memory: Whether peak memory is measured, in further processes.
        trl: Whether TRL is run where it takes part.
    """

    rounds: int = 5
    smoke: bool = False
    memory: bool = True
    trl: bool = True
