"""Columns that formats do not read: what they may be for, which of them cannot be left out, and which are prompts."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from preftune.data.formats.fields import is_blank
from preftune.data.rows import Row

_MEDIA = (
    "is not supported: only text can be learned from, and the answers may depend on it. Leave the column out to train "
    "on the text alone."
)

REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("image", "images", "video", "videos", "audio", "audios"), _MEDIA),
}
"""Columns that change the meaning of a row and cannot be read, each with the problem."""

_PROMPTS = """
prompt prompts input inputs query queries question questions instruction instructions context contexts message messages
conversation conversations dialogue dialog history problem task request user human post document passage article chat
turns utterance command goal ask premise
"""
_PROMPT_WORDS = frozenset(_PROMPTS.split())

_KINDS: tuple[tuple[frozenset[str], str], ...] = tuple(
    (frozenset(words.split()), guess)
    for words, guess in (
        ("id ids uid uuid hash idx index key row qid md5 sha", "an identifier"),
        ("source sources dataset origin url link license licence date time timestamp created split subset version "
         "author", "the origin of the row"),
        ("lang language category categories topic type tag tags domain subject difficulty level flag", "a category"),
        ("model models generator generators engine name", "the name of a model or a source"),
        ("annotator annotators worker rater judge", "who judged"),
        ("tokens token length len num count counts number chars words size price seconds", "a length or a count"),
        ("score scores rating ratings reward rewards rank ranks votes upvotes preference quality margin confidence "
         "agreement", "a score; --auxiliary and the columns of `lists` read scores"),
        ("label labels tag kto", "a label"),
        ("weight weights", "weights"),
        ("system", "a system turn"),
        ("tool tools function functions", "definitions of tools"),
        ("answer answers reference gold target solution truth", "a reference answer"),
        ("response responses completion completions output outputs generation generations", "a completion"),
        ("explanation rationale reason comment comments feedback critique note notes remark", "a remark on the row"),
        ("metadata meta info extra", "metadata"),
    )
)  # fmt: skip
"""Purpose of a column by a word of its name; the first that fits."""

_NOT_A_PROMPT = frozenset().union(*(words for words, _ in _KINDS[:8]))
"""Words that make a column a property of the prompt or of the row, such as `prompt_id`."""

_LEAST_WORDS = 3


def _words(name: str) -> list[str]:
    """
    >>> _words("promptID_of-Row2")
    ['prompt', 'id', 'of', 'row']
    """
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+", name)]


def guess_of(name: str, value: Any) -> str:
    """A guess of what a column is for, from its name and a value.

    >>> guess_of("prompt_id", "a7f3"), guess_of("query", "2+2="), guess_of("x", 0.5)
    ('an identifier', 'a prompt, or a part of one', 'a number')
    """
    words = _words(name)
    if _may_be_prompt(value) and _has_prompt_name(words):
        return "a prompt, or a part of one"
    found = next((guess for kind in reversed(words) for known, guess in _KINDS if kind in known), None)
    return found or _kind_of(value)


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    if _are_messages(value):
        return "messages"
    return "a list" if isinstance(value, list | tuple) else f"a value of type {type(value).__name__}"


def _has_prompt_name(words: Collection[str]) -> bool:
    return bool(_PROMPT_WORDS.intersection(words)) and not _NOT_A_PROMPT.intersection(words)


def _may_be_prompt(value: Any) -> bool:
    return (isinstance(value, str) and not is_blank(value)) or _are_messages(value)


def _are_messages(value: Any) -> bool:
    is_list = isinstance(value, list | tuple) and bool(value)
    return is_list and all(isinstance(item, Mapping) and ("role" in item or "from" in item) for item in value)


def prompt_columns(fields: Mapping[str, Any], known: Collection[str]) -> Iterator[tuple[str, Literal["name", "text"]]]:
    """Columns that may hold the prompt, with the reason: the name, or a text of several words under another name.

    Args:
        known: Columns with a meaning of their own.

    >>> fields = {"query": "2+2=", "id": "q 1 of 2", "frage": "Was ist 2+2?", "chosen": "It is 4."}
    >>> list(prompt_columns(fields, {"chosen"}))
    [('query', 'name'), ('frage', 'text')]
    """
    for name, value in fields.items():
        if name in known or name in REFUSED or not _may_be_prompt(value):
            continue
        words = _words(name)
        if _has_prompt_name(words):
            yield name, "name"
        elif isinstance(value, str) and len(value.split()) >= _LEAST_WORDS and not _is_of_known_kind(words):
            yield name, "text"


def _is_of_known_kind(words: Collection[str]) -> bool:
    return any(known.intersection(words) for known, _ in _KINDS)


def check_refused(row: Row) -> None:
    """Raise an error if a row has a value in a column that changes its meaning and cannot be read."""
    for name in REFUSED.keys() & row.fields.keys():
        value = row.fields[name]
        if not is_blank(value) and value not in ([], {}, ()):
            raise row.error(name, REFUSED[name])


class _Watched(dict[str, Any]):
    """Fields that record which of them are read."""

    __slots__ = ("_used",)

    def __init__(self, fields: Mapping[str, Any], used: set[str]) -> None:
        super().__init__(fields)
        self._used = used

    def get(self, key: str, default: Any = None) -> Any:
        self._used.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self._used.add(key)
        return super().__getitem__(key)


class ColumnLog:
    """Records which columns of a file hold values and which of them are read.

    >>> from preftune.groups import Origin
    >>> log = ColumnLog()
    >>> row = log.watch(Row(Origin("sums.jsonl", 1), {"prompt": "2+2=", "hint": "even", "note": ""}))
    >>> row.fields.get("prompt"), log.unread()
    ('2+2=', {'hint': 'text'})
    """

    def __init__(self, used: Collection[str] = ()) -> None:
        self._used = set(used)
        self._guesses: dict[str, str] = {}
        self._blank: set[str] = set()

    def watch(self, row: Row) -> Row:
        """The same row; its fields record that they are read."""
        for name, value in row.fields.items():
            if name not in self._guesses and not is_blank(value) and value not in ([], {}):
                self._guesses[name] = guess_of(name, value)
        return Row(row.origin, _Watched(row.fields, self._used))

    def unread(self) -> dict[str, str]:
        """A guess of the purpose of each column that has values and that no reader used, by its name."""
        return {name: guess for name, guess in self._guesses.items() if name not in self._used}
