"""Where rows come from, as one number each: a million origins as objects would fill the memory."""

from preftune.groups import Origin

__all__ = ["Places"]

_ROW_BITS = 40


class Places:
    """Numbers for origins, in order of source and row, and back.

    >>> places = Places()
    >>> place = places.of(Origin("prefs.jsonl", 17))
    >>> str(places.origin(place))
    'prefs.jsonl:17'
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._sources: list[str] = []

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources seen so far, in order."""
        return tuple(self._sources)

    def of(self, origin: Origin) -> int:
        """The number of an origin. Sources are numbered as they come."""
        number = self._numbers.get(origin.source)
        if number is None:
            number = self._numbers[origin.source] = len(self._sources)
            self._sources.append(origin.source)
        return number << _ROW_BITS | origin.row

    def origin(self, place: int) -> Origin:
        """The origin of a number that `of` gave."""
        place = int(place)
        return Origin(self._sources[place >> _ROW_BITS], place & ((1 << _ROW_BITS) - 1))
