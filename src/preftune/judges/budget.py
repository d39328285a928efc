"""How many answers may be paid for."""

import threading
from typing import final

__all__ = ["CallBudget"]


@final
class CallBudget:
    """Counts calls of several threads against a limit. A call is claimed before it is made, and given back if it fails.

    Args:
        limit: Most calls; None for no limit.

    >>> budget = CallBudget(1)
    >>> budget.claim(), budget.claim()
    (True, False)
    >>> budget.give_back()
    >>> budget.claim(), budget.num_claimed
    (True, 1)
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self.num_claimed = 0
        """Calls that were made or are under way."""

    def claim(self) -> bool:
        """Whether one more call may be made; it then counts."""
        with self._lock:
            if self._limit is not None and self.num_claimed >= self._limit:
                return False
            self.num_claimed += 1
            return True

    def give_back(self) -> None:
        """A claimed call was not answered, so that it cost nothing."""
        with self._lock:
            self.num_claimed -= 1
