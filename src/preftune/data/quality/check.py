"""What a check is: it sees every group once and then says what it found."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found
from preftune.data.quality.histogram import Histogram
from preftune.data.rows import BadRow, LeftOut

if TYPE_CHECKING:
    from preftune.data.quality.keys import KeyArray

__all__ = ["Check", "CheckSettings"]


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """What checks need beside the data.

    Args:
        seed: Of samples and folds.
        max_length: Most tokens of a prompt and one completion together, where there is a limit.
        special_tokens: Of the tokenizer; none where there is no tokenizer.
        has_tokens: Whether groups come with lengths in tokens.
        held_out: Keys of the prompts that are kept for evaluation, distinct and rising; None where no such data are
            given. Shape: (prompt,).
    """

    seed: int = 0
    max_length: int | None = None
    special_tokens: tuple[str, ...] = ()
    has_tokens: bool = False
    held_out: "KeyArray | None" = None


class Check(ABC):
    """One look at a data set, in bounded memory: some bytes per row at most, never texts of all rows."""

    @abstractmethod
    def add(self, facts: GroupFacts) -> None:
        """See a group."""

    def add_unusable(self, row: BadRow | LeftOut, place: int) -> None:  # noqa: B027
        """See a row that could not become a group."""

    @abstractmethod
    def found(self) -> Iterator[Found]:
        """What there is to say about all groups that were seen."""

    def histograms(self) -> Iterator[Histogram]:
        """Pictures of all groups that were seen."""
        return iter(())
