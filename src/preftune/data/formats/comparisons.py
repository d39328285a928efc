"""Rows with two completions and which of them is preferred, by how much."""

from collections.abc import Collection, Mapping

from preftune.data.formats.extra_scores import refuse_extra_scores
from preftune.data.formats.fields import as_conversation, is_blank, read_completion, read_number, read_text, to_number
from preftune.data.rows import Row
from preftune.errors import DataError
from preftune.groups import Pair, PromptGroup, Text

__all__ = ["chosen_group", "preference_group", "read_comparison"]

_TIES = (0.0, 1.5)


def read_comparison(row: Row, extra_scores: Collection[str] = ()) -> PromptGroup:
    """A group of two completions and the pair that `preference` states, from `prompt`, `completion_1`, `completion_2`.

    Optional: `margin`. All three are text, or some are lists of messages, as in `read_pair`.

    Raises:
        DataError: a field that is missing or of a wrong type; an empty completion; equal completions.

    >>> from preftune.groups import Origin
    >>> fields = {"prompt": "2+2=", "completion_1": "5", "completion_2": "4", "preference": 1.75}
    >>> read_comparison(Row(Origin("sums.jsonl", 1), fields)).pairs
    (Pair(chosen=1, rejected=0, margin=0.5),)
    """
    refuse_extra_scores(row, extra_scores)
    texts = {name: read_text(row, name) for name in ("prompt", "completion_1", "completion_2")}
    prompt, completions = texts.pop("prompt"), texts
    if not all(isinstance(text, str) for text in (prompt, *completions.values())):
        prompt = as_conversation(prompt, "user")
        completions = {name: as_conversation(text, "assistant") for name, text in completions.items()}
    return preference_group(row, prompt, completions)


def preference_group(row: Row, prompt: Text, completions: Mapping[str, Text]) -> PromptGroup:
    """The group of two completions that the field `preference` compares.

    It lies between 1, the first is better, and 2, the second is. Each completion's score is how far it leans to it, in
    [0, 1], and the pair's margin is the difference, unless there is a field `margin`. 1.5 and 0 are ties: equal
    scores and no pair.

    Args:
        row: Holds the preference.
        prompt: What is answered.
        completions: The two, by field.
    Raises:
        DataError: a preference that is missing or out of its range; an empty completion; equal completions.
    Source: annotations of AlpacaEval, https://github.com/tatsu-lab/alpaca_eval
    """
    preference = _preference(row)
    scores = (2 - preference, preference - 1)
    if preference == 1.5:
        return _group(row, prompt, completions, scores=scores)
    margin = read_number(row, "margin")
    return chosen_group(
        row,
        prompt,
        completions,
        int(preference > 1.5),
        margin=abs(scores[0] - scores[1]) if margin is None else margin,
        scores=scores,
    )


def chosen_group(
    row: Row,
    prompt: Text,
    completions: Mapping[str, Text],
    chosen: int,
    *,
    margin: float | None = None,
    scores: tuple[float | None, ...] | None = None,
) -> PromptGroup:
    """The group of some completions of which one is better than all others.

    Args:
        row: Where they are from.
        prompt: What is answered.
        completions: By field.
        chosen: Index of the better one.
        margin: How much better it is.
        scores: Of each completion.
    Raises:
        DataError: an empty completion; another completion that equals the better one.
    """
    names = list(completions)
    better = completions[names[chosen]]
    for name in names:
        if name != names[chosen] and completions[name] == better:
            raise DataError(
                f"{row.origin}: '{names[chosen]}' and '{name}' are equal, so the row does not say which is better.",
                fault="equal",
            )
    pairs = tuple(Pair(chosen, index, margin) for index in range(len(names)) if index != chosen)
    return _group(row, prompt, completions, pairs=pairs, scores=scores)


def _group(
    row: Row,
    prompt: Text,
    completions: Mapping[str, Text],
    *,
    pairs: tuple[Pair, ...] = (),
    scores: tuple[float | None, ...] | None = None,
) -> PromptGroup:
    known = scores or (None,) * len(completions)
    read = tuple(
        read_completion(row, name, content, score=score)
        for (name, content), score in zip(completions.items(), known, strict=True)
    )
    return PromptGroup(prompt, read, pairs, row.origin)


def _preference(row: Row) -> float:
    value = row.fields.get("preference")
    if is_blank(value):
        raise row.error("preference", "is missing.")
    preference = to_number(row, "preference", value)
    if preference in _TIES:
        return 1.5
    if not 1 <= preference <= 2:
        raise row.error("preference", f"is {preference:g}. It must lie between 1, the first is better, and 2; or 0.")
    return preference
