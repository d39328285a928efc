"""Special tokens of the tokenizer, written out in texts."""

from collections.abc import Iterator
from typing import final

from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found
from preftune.data.quality.marked_texts import MarkedTexts

__all__ = ["SpecialTokens"]


@final
class SpecialTokens(Check):
    """Completions, and messages of prompts, that hold a special token of the tokenizer as text.

    Prompts that are text are left out: such tokens in them are how the data were written. Severity: a warning, an error
    from 1 % of the texts: an end-of-sequence token inside a completion teaches to stop there.
    """

    def __init__(self, settings: CheckSettings) -> None:
        self._marked = MarkedTexts(settings.special_tokens)

    @override
    def add(self, facts: GroupFacts) -> None:
        self._marked.add(facts)

    @override
    def found(self) -> Iterator[Found]:
        yield from self._marked.found(
            "special-tokens",
            what="Texts with special tokens of the tokenizer",
            why="The tokenizer turns the text into the token itself: the model sees a turn or an end where there "
            "is none.",
            advice="Take them out of the text; the chat template and the tokenizer put them where they belong.",
        )
