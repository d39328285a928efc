"""Rows that something is wrong with."""

from array import array

from preftune.data.quality.finding import NUM_EXAMPLES, Shown
from preftune.data.quality.texts import shortened

__all__ = ["Flagged"]


class Flagged:
    """Places of rows, 8 bytes each, and the first few of them to be shown.

    >>> flagged = Flagged()
    >>> flagged.add(7, text="the part that\\nmatters")
    >>> flagged.add(7)
    >>> len(flagged), flagged.shown
    (2, [Shown(place=7, note='', text='the part that matters', like=None)])
    """

    def __init__(self) -> None:
        self.places = array("Q")
        self.shown: list[Shown] = []

    def __len__(self) -> int:
        return len(self.places)

    def add(self, place: int, *, note: str = "", text: str | None = None) -> None:
        """Flag a row; one that has several faults of a kind, several times.

        Args:
            place: Of the row.
            note, text: As in `Shown`; of the text the beginning is kept.
        """
        self.places.append(place)
        if len(self.shown) < NUM_EXAMPLES and all(shown.place != place for shown in self.shown):
            self.shown.append(Shown(place, note, None if text is None else shortened(text, 100)))
