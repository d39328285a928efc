"""Timing several ways to do the same work in turn, so that a busy machine is busy for all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Times", "in_turn"]


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of each round.

    >>> Times((3.0, 1.0, 2.0)).median
    2.0
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """The shortest one."""
        return min(self.seconds)

    def times_faster_than(self, other: "Times") -> float:
        """Median over the rounds of how many times as long the other one took in the same round."""
        pairs = zip(self.seconds, other.seconds, strict=True)
        return statistics.median(theirs / ours for ours, theirs in pairs)


def in_turn(
    ways: Mapping[str, Callable[[], float | None]], *, rounds: int, warm_up: int = 1, show: bool = True
) -> dict[str, Times]:
    """Seconds of each way, round by round; the rounds of the warm-up do not count.

    Args:
        ways: What to time, by name. One that returns a number has taken the time itself: seconds.
        rounds: How often each way is timed.
        warm_up: Rounds before that.
        show: Whether to print each time as it comes.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-warm_up, rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            own = way()
            spent = time.perf_counter() - start if own is None else own
            if turn >= 0:
                seconds[name].append(spent)
            if show:
                when = f"round {turn + 1}/{rounds}" if turn >= 0 else "warm-up"
                print(f"    {when}  {name}: {spent:.3f} s", flush=True)
    return {name: Times(tuple(values)) for name, values in seconds.items()}
