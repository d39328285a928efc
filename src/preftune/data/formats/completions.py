"""Weights of characters and auxiliary scores of the completions of a row."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from preftune.data.formats.fields import is_blank, read_items, to_number
from preftune.data.rows import LeftOut, Row
from preftune.errors import DataError
from preftune.groups import Completion, PromptGroup, Text, WeightedSpan, span_problem

_SPANS = "a list of [start, stop, weight], characters of the completion's text"


def read_weights(row: Row, name: str, content: Text, *, num_before: int = 0) -> tuple[WeightedSpan, ...]:
    """The weighted spans of a completion from a field; empty if it is missing or blank.

    Args:
        num_before: Number of characters before the completion in the text that the spans index.
    Raises:
        DataError: not a list of spans; a span beyond the completion; overlapping spans; a negative weight.

    >>> from preftune.groups import Origin
    >>> read_weights(Row(Origin("prefs.jsonl", 1), {"weights": [[0, 2, 0.5]]}), "weights", "four")
    (WeightedSpan(start=0, stop=2, weight=0.5),)
    """
    value = row.fields.get(name)
    return () if is_blank(value) else to_weights(row, name, value, content, num_before=num_before)


def to_weights(row: Row, name: str, value: Any, content: Text, *, num_before: int = 0) -> tuple[WeightedSpan, ...]:
    """A value as the weighted spans of a completion."""
    if not isinstance(value, list | tuple):
        raise row.error(name, f"is of type {type(value).__name__}. It must be {_SPANS}.")
    spans = tuple(_span(row, f"{name}[{index}]", item, num_before) for index, item in enumerate(value))
    if problem := span_problem(spans, Completion(content).weighted_text if content else None):
        raise row.error(name, problem)
    return spans


def _span(row: Row, name: str, value: Any, num_before: int) -> WeightedSpan:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise row.error(name, f"is {value!r:.40}. It must be [start, stop, weight].")
    start, stop, weight = (to_number(row, name, part) for part in value)
    if not (start.is_integer() and stop.is_integer()):  # tables store a list of numbers with one type
        raise row.error(name, f"goes from {start} to {stop}. Both must be whole numbers of characters.")
    try:
        return WeightedSpan(int(start) - num_before, int(stop) - num_before, weight)
    except DataError as error:
        raise row.error(name, f"cannot be used: {error}") from None


WEIGHT = "weight"
"""Column with the weight of a row in the loss."""


def with_weight(row: Row, group: PromptGroup) -> PromptGroup | LeftOut:
    """The group with the weight in the column `weight`, or with that of each completion if it is a list.

    Returns:
        The group, or `LeftOut` for a row of weight 0.
    Raises:
        DataError: a weight that is not a finite number, at least 0; a list with another number of weights than there
            are completions.
    """
    value: Any = row.fields.get(WEIGHT)
    if is_blank(value):
        return group
    if not isinstance(value, list | tuple):
        weight = _to_weight(row, WEIGHT, value)
        return replace(group, weight=weight) if weight else LeftOut(row.origin, "weight 0")
    number = len(group.completions)
    items = read_items(row, WEIGHT, "a weight for each completion", length=number)
    weights = [_to_weight(row, f"{WEIGHT}[{index}]", item) for index, item in enumerate(items)]
    if not any(weights):
        return LeftOut(row.origin, "weight 0")
    completions = zip(group.completions, weights, strict=True)
    return replace(group, completions=tuple(replace(one, weight=weight) for one, weight in completions))


def _to_weight(row: Row, name: str, value: Any) -> float:
    weight = to_number(row, name, value)
    if weight < 0:
        raise row.error(name, f"is {weight:g}. A weight in the loss must be at least 0.")
    return weight


def read_extra_scores(row: Row, names: Collection[str], column: str) -> dict[str, float]:
    """Auxiliary scores of one completion.

    Args:
        column: Column of a score, with `{}` for its name, such as `chosen_{}`.

    >>> from preftune.groups import Origin
    >>> read_extra_scores(Row(Origin("prefs.jsonl", 1), {"chosen_safety": 2}), ["safety"], "chosen_{}")
    {'safety': 2.0}
    """
    return {name: _required(row, column.format(name)) for name in names}


def read_score_lists(row: Row, names: Collection[str], length: int) -> list[dict[str, float]]:
    """Auxiliary scores of each completion of a list.

    Args:
        names: Names of the scores, which are the columns.
    """
    lists = {name: read_items(row, name, "a number for each completion", length=length) for name in names}
    return [
        {name: to_number(row, f"{name}[{index}]", items[index]) for name, items in lists.items()}
        for index in range(length)
    ]


def refuse_extra_scores(row: Row, names: Collection[str]) -> None:
    """Raise an error if auxiliary scores are requested of a row that has no columns for them."""
    if names:
        raise DataError(
            f"{row.origin}: the row has no columns for auxiliary scores, but --auxiliary asks for {', '.join(names)}. "
            "Give 'chosen' and 'rejected' with such columns, or leave --auxiliary out."
        )


def _required(row: Row, name: str) -> float:
    value = row.fields.get(name)
    if is_blank(value):
        raise row.error(name, "is missing, but --auxiliary asks for it.")
    return to_number(row, name, value)
