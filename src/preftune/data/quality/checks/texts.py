"""Checks of the characters of texts: empty ones, odd characters, marks of chat templates and special tokens."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import final

from preftune.data.quality.check import Check, CheckRule, CheckSettings, Draft, FaultLog
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.texts import learned_texts
from preftune.data.rows import BadRow, LeftOut

_SAYS_SOMETHING = re.compile(r"[^\W_]")
_BEFORE = 30  # characters shown before a mark

_EMPTY_ROWS = CheckRule(
    title="Rows with an empty completion: {count:,}",
    unit="rows",
    reason="There is nothing to learn from, and training stops there.",
    advice="Leave them out: `preftune clean {remedy}`.",
    remedy="--drop-unusable",
    error=0.0,
)
_SIGNS = CheckRule(
    title="Completions without a letter or digit: {count:,}",
    unit="completions",
    reason="Punctuation alone is mostly what is left of a lost answer.",
    advice="Read them and leave them out, unless the prompts ask for punctuation.",
    warning=0.0,
)
_EMPTY_PROMPTS = CheckRule(
    title="Empty prompts: {count:,}",
    unit="rows",
    reason="The first token of the completion is then predicted from the beginning of the text alone.",
    advice="Check --columns and --format. Keep them if they are intended.",
    warning=0.0,
)


@final
class Empty(Check):
    """Completions without a letter or digit, and rows whose completion or prompt is empty.

    A completion of punctuation only, such as "...", counts, and so does an emoji. Severity: rows with an empty
    completion are an error, because training stops there; punctuation only is a warning; empty prompts a warning,
    because the tokenizer then needs a beginning-of-sequence token.
    """

    name = "empty"
    about = "empty completions and prompts"

    def __init__(self, settings: CheckSettings) -> None:  # noqa: ARG002
        self._num_rows = self._num_completions = 0
        self._rows, self._signs, self._prompts = FaultLog(), FaultLog(), FaultLog()

    def add_unusable(self, row: BadRow | LeftOut, place: int) -> None:
        self._num_rows += 1
        if isinstance(row, BadRow) and row.fault == "empty":
            self._rows.add(place)

    def add(self, facts: GroupFacts) -> None:
        self._num_rows += 1
        self._num_completions += len(facts.texts)
        for text in facts.texts:
            if _SAYS_SOMETHING.search(text) is None:
                self._signs.add(facts.place, text=repr(text))
        if not facts.prompt.strip():
            self._prompts.add(facts.place)

    def drafts(self) -> Iterator[Draft]:
        if self._rows:
            yield self._rows.draft(_EMPTY_ROWS, self._num_rows)
        if self._signs:
            yield self._signs.draft(_SIGNS, self._num_completions)
        if self._prompts:
            yield self._prompts.draft(_EMPTY_PROMPTS, self._num_rows)


_KINDS = {
    "control codes": re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"),
    "invisible signs": re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufff9-\ufffb]"),
    "lost characters (\ufffd)": re.compile("\ufffd"),
    # UTF-8 read as Windows-1252: é as Ã©, ’ as â€™, and the like.
    "wrongly decoded text": re.compile("\u00c3[\u0080-\u00bf\u2018-\u2122]|\u00e2\u20ac[\u0080-\u00bf\u2018-\u2122]"),
}
_CONTROL = CheckRule(
    title="Rows with characters that no one typed ({kinds}): {count:,}",
    unit="rows",
    reason="They are traces of wrong decoding or of copying. A model that learns from them writes them.",
    advice="Decode the source again as UTF-8, or strip these characters.",
    warning=0.001,
)


def bad_characters(text: str) -> list[str]:
    """Kinds of bad characters in a text.

    >>> bad_characters("a bell: \\x07, cafÃ©"), bad_characters("café 👩‍🚀")
    (['control codes', 'wrongly decoded text'], [])
    """
    if text.isascii():
        return ["control codes"] if _KINDS["control codes"].search(text) else []
    return [name for name, pattern in _KINDS.items() if pattern.search(text)]


@final
class ControlCharacters(Check):
    """Rows with control codes, invisible characters, replacement characters or wrongly decoded text.

    Tabs and line breaks are fine, and so are the joiners that emojis and some scripts need. Severity: a warning from
    0.1 % of the rows; the model learns to write them.
    """

    name = "control-characters"
    about = "characters that no one typed"

    def __init__(self, settings: CheckSettings) -> None:  # noqa: ARG002
        self._num_rows = 0
        self._log = FaultLog()
        self._kinds: Counter[str] = Counter()

    def add(self, facts: GroupFacts) -> None:
        self._num_rows += 1
        kinds = {kind for text in (facts.prompt, *facts.texts) for kind in bad_characters(text)}
        if kinds:
            self._log.add(facts.place, note=", ".join(sorted(kinds)))
            self._kinds.update(kinds)

    def drafts(self) -> Iterator[Draft]:
        if self._log:
            kinds = dict(sorted(self._kinds.items()))
            yield self._log.draft(_CONTROL, self._num_rows, measures=kinds, values={"kinds": ", ".join(kinds)})


TEMPLATE_TOKENS: tuple[str, ...] = (
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
    *("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    *("<|start|>", "<|channel|>", "<|message|>", "<|return|>"),
    *("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<start_of_turn>", "<end_of_turn>"),
    *("<｜User｜>", "<｜Assistant｜>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
    *("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "</s>"),
    *("### Instruction:", "### Response:", "### Human:", "### Assistant:", "### User:"),
    *("\n\nHuman:", "\n\nAssistant:", "\nUSER:", "\nASSISTANT:"),
)
"""Marks of turns in current chat templates, and those that earlier models had as text."""

_TEMPLATE = CheckRule(
    title="Texts with marks of a chat template ({marks}): {count:,}",
    unit="texts",
    reason="A completion that continues with the next turn teaches the model to write both sides. Marks in a message "
    "are put into a template a second time.",
    advice="Split the turns into messages, or cut completions before the mark.",
    warning=0.0,
    error=0.01,
)
_SPECIAL = CheckRule(
    title="Texts with special tokens of the tokenizer ({marks}): {count:,}",
    unit="texts",
    reason="The tokenizer turns the text into the token itself: the model sees a turn or an end that is not there.",
    advice="Remove them from the text: the chat template and the tokenizer add them in the right places. Rows whose "
    "prompt is rendered can stay as they are (docs/data.md, Chat templates).",
    warning=0.0,
    error=0.01,
)


class _Marks(Check):
    """Texts that contain a mark: completions, and messages of a prompt that has messages."""

    def __init__(self, rule: CheckRule, marks: Iterable[str]) -> None:
        self._rule = rule
        self._marks = tuple(dict.fromkeys(marks))
        self._num_texts = 0
        self._log = FaultLog()
        self._counts: Counter[str] = Counter()

    def add(self, facts: GroupFacts) -> None:
        texts = facts.texts if isinstance(facts.group.prompt, str) else learned_texts(facts.group)
        self._num_texts += len(texts)
        for text in texts:
            marks = [mark for mark in self._marks if mark in text]
            if marks:
                at = max(text.find(marks[0]) - _BEFORE, 0)
                self._log.add(facts.place, note=" ".join(map(repr, marks)), text=f"{'…' * (at > 0)}{text[at:]}")
                self._counts.update(marks)

    def drafts(self) -> Iterator[Draft]:
        if self._log:
            frequent = sorted(self._counts, key=lambda mark: (-self._counts[mark], mark))
            marks = ", ".join([*map(repr, frequent[:3]), *(["..."] if len(frequent) > 3 else [])])
            measures = {repr(mark): count for mark, count in sorted(self._counts.items())}
            yield self._log.draft(self._rule, self._num_texts, measures=measures, values={"marks": marks})


@final
class TemplateTokens(_Marks):
    """Completions, and messages of prompts, that contain a mark of a turn, such as `<|im_start|>` or `\\n\\nHuman:`.

    Prompts that are plain text are left out: marks in them are how the data were written. Severity: a warning, an error
    from 1 % of the texts: the model learns to write both sides of the conversation and not to stop.
    """

    name = "template-tokens"
    about = "marks of chat templates inside texts"

    def __init__(self, settings: CheckSettings) -> None:  # noqa: ARG002
        super().__init__(_TEMPLATE, TEMPLATE_TOKENS)


@final
class SpecialTokens(_Marks):
    """Completions, and messages of prompts, that contain a special token of the tokenizer as text.

    Prompts that are plain text are left out: such tokens in them are how the data were written. Severity: a warning, an
    error from 1 % of the texts: an end-of-sequence token inside a completion teaches to stop there.
    """

    name = "special-tokens"
    about = "special tokens inside texts"
    needs = "tokenizer"

    def __init__(self, settings: CheckSettings) -> None:
        super().__init__(_SPECIAL, settings.special_tokens)


_HIDDEN = CheckRule(
    title="{count:,} {text}",
    unit="prompts",
    reason="The model is trained without it, or after a prompt that it does not see in generation.",
    advice="Give a template that shows these parts with --chat-template, or take them out of the data.",
    warning=0.0,
)


@final
class HiddenParts(Check):
    """Parts of messages that the chat template of the tokenizer leaves out or changes.

    Severity: a warning from the first row on. A completion of which nothing is shown cannot be tokenized: see `tokens`.
    """

    name = "hidden-parts"
    about = "parts of messages that the chat template does not show"
    needs = "tokenizer"

    def __init__(self, settings: CheckSettings) -> None:  # noqa: ARG002
        self._logs: dict[str, FaultLog] = {}
        self._num_groups = 0

    def add(self, facts: GroupFacts) -> None:
        self._num_groups += 1
        for text in facts.tokens.hidden if facts.tokens is not None else ():
            self._logs.setdefault(text, FaultLog()).add(facts.place)

    def drafts(self) -> Iterator[Draft]:
        for text, log in self._logs.items():
            yield log.draft(_HIDDEN, self._num_groups, values={"text": text})


CHECKS: tuple[type[Check], ...] = (Empty, ControlCharacters, TemplateTokens, SpecialTokens, HiddenParts)
