"""Rows with some mark in a text, such as a template's token."""

from collections import Counter
from collections.abc import Iterable, Iterator

from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found, severity_of
from preftune.data.quality.flagged import Flagged
from preftune.data.quality.texts import learned_texts

__all__ = ["MarkedTexts"]

_ERROR = 0.01
_BEFORE = 30  # characters that an example shows before the mark


class MarkedTexts:
    """Counts texts that hold a mark, by mark, and remembers their rows."""

    def __init__(self, marks: Iterable[str]) -> None:
        self._marks = tuple(dict.fromkeys(marks))
        self.num_texts = 0
        self.flagged = Flagged()
        self.counts: Counter[str] = Counter()

    def add(self, facts: GroupFacts) -> None:
        """See a group: its completions, and the messages of its prompt if it has messages."""
        texts = facts.texts if isinstance(facts.group.prompt, str) else learned_texts(facts.group)
        self.num_texts += len(texts)
        for text in texts:
            marks = [mark for mark in self._marks if mark in text]
            if marks:
                at = max(text.find(marks[0]) - _BEFORE, 0)
                self.flagged.add(facts.place, note=" ".join(map(repr, marks)), text=f"{'…' * (at > 0)}{text[at:]}")
                self.counts.update(marks)

    @property
    def num_marked(self) -> int:
        """Texts with a mark."""
        return len(self.flagged)

    def most_common(self) -> str:
        """The marks that most texts have, the three most frequent of them."""
        ordered = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        more = ", ..." if len(ordered) > 3 else ""
        return ", ".join(repr(mark) for mark, _ in ordered[:3]) + more

    def found(self, check: str, *, what: str, why: str, advice: str) -> Iterator[Found]:
        """A finding, if a text holds a mark: a warning, an error from 1 % of the texts.

        Args:
            check: That looked.
            what: The texts, for people, without the marks.
            why, advice: As in `Found`.
        """
        if self.num_marked:
            yield Found(
                check=check,
                severity=severity_of(self.num_marked / self.num_texts, warning=0.0, error=_ERROR),
                title=f"{what} ({self.most_common()}): {self.num_marked:,}",
                count=self.num_marked,
                total=self.num_texts,
                unit="texts",
                why=why,
                advice=advice,
                places=self.flagged.places,
                examples=self.flagged.shown,
                measures={repr(mark): count for mark, count in sorted(self.counts.items())},
            )
