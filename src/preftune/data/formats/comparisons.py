"""Formats with a preferred completion: comparisons, AlpacaEval, SHP, summaries."""

from collections.abc import Mapping
from typing import Any

from preftune.data.formats.fields import (
    as_conversation,
    is_blank,
    read_choice,
    read_completion,
    read_number,
    read_objects,
    read_string,
    read_text,
    to_number,
    to_string,
)
from preftune.data.formats.format import Format, each_row
from preftune.data.rows import Row
from preftune.errors import DataError
from preftune.groups import Pair, PromptGroup, Text

_TIES = (0.0, 1.5)


def read_comparison(row: Row) -> PromptGroup:
    """A group of two completions and the pair that `preference` states, from `prompt`, `completion_1`, `completion_2`.

    Optional: `margin`. All three are text, or some are lists of messages, as in `read_pair`.

    >>> from preftune.groups import Origin
    >>> fields = {"prompt": "2+2=", "completion_1": "5", "completion_2": "4", "preference": 1.75}
    >>> read_comparison(Row(Origin("sums.jsonl", 1), fields)).pairs
    (Pair(chosen=1, rejected=0, margin=0.5),)
    """
    texts = {name: read_text(row, name) for name in ("prompt", "completion_1", "completion_2")}
    prompt, completions = texts.pop("prompt"), texts
    if not all(isinstance(text, str) for text in (prompt, *completions.values())):
        prompt = as_conversation(prompt, "user")
        completions = {name: as_conversation(text, "assistant") for name, text in completions.items()}
    return preference_group(row, prompt, completions)


def preference_group(row: Row, prompt: Text, completions: Mapping[str, Text]) -> PromptGroup:
    """The group of two completions that the field `preference` compares.

    A preference p is in [1, 2]: 1 if the first is better, 2 if the second. The scores are 2 - p and p - 1. The margin
    of the pair is their difference, unless there is a field `margin`. 1.5 and 0 are ties: equal scores and no pair.

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
    """The group of completions of which one is better than all others.

    Args:
        completions: The completions, by field.
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


def read_alpaca_eval(row: Row) -> PromptGroup:
    """A group of two completions and a pair, from `instruction`, `output_1`, `output_2` and `preference`.

    `preference` lies between 1 and 2, as `preference_group` explains. The instruction becomes a user turn, an output
    an assistant turn.

    Source: https://github.com/tatsu-lab/alpaca_eval, annotations.json

    >>> from preftune.groups import Origin
    >>> fields = {"instruction": "2+2=", "output_1": "5", "output_2": "4", "preference": 1.75}
    >>> read_alpaca_eval(Row(Origin("annotations.json", 1), fields)).pairs
    (Pair(chosen=1, rejected=0, margin=0.5),)
    """
    prompt = as_conversation(read_string(row, "instruction"), "user")
    outputs = {name: as_conversation(read_string(row, name), "assistant") for name in ("output_1", "output_2")}
    return preference_group(row, prompt, outputs)


def read_shp(row: Row) -> PromptGroup:
    """A group of two completions and a pair, from `history`, `human_ref_A`, `human_ref_B` and `labels`.

    `labels` is 1 if A is better, else 0. Optional: the votes `score_A` and `score_B`. The post becomes a user turn, a
    comment an assistant turn. Pairs of a clear preference only: `--where 'score_ratio>=2'`.

    Source: Ethayarajh et al. 2022; https://huggingface.co/datasets/stanfordnlp/SHP

    >>> from preftune.groups import Origin
    >>> fields = {"history": "2+2=", "human_ref_A": "5", "human_ref_B": "4", "labels": 0, "score_A": 2, "score_B": 9}
    >>> group = read_shp(Row(Origin("shp.jsonl", 1), fields))
    >>> group.pairs, [completion.score for completion in group.completions]
    ((Pair(chosen=1, rejected=0, margin=None),), [2.0, 9.0])
    """
    prompt = as_conversation(read_string(row, "history"), "user")
    comments = {name: as_conversation(read_string(row, name), "assistant") for name in ("human_ref_A", "human_ref_B")}
    scores = (read_number(row, "score_A"), read_number(row, "score_B"))
    return chosen_group(row, prompt, comments, 1 - read_choice(row, "labels", 2), scores=scores)


_POST = {"subreddit": "SUBREDDIT: r/", "title": "TITLE: ", "post": "POST: "}


def read_summaries(row: Row) -> PromptGroup:
    r"""A group of two completions and a pair, from `info`, `summaries` and `choice`.

    A summary is an object with its `text`; `choice` is the index of the better one. `info` holds a Reddit `post` with
    its `subreddit` and `title`, or a news `article`. The prompt is text, as in the paper:
    `SUBREDDIT: r/...\n\nTITLE: ...\n\nPOST: ...\n\nTL;DR:` or `Article:\n...\n\nTL;DR:`.

    Source: Stiennon et al. 2020, arXiv:2009.01325, Table 4;
        https://huggingface.co/datasets/openai/summarize_from_feedback, config `comparisons`.

    >>> from preftune.groups import Origin
    >>> info = {"subreddit": "sums", "title": "Help", "post": "What is 2+2?", "article": None}
    >>> fields = {"info": info, "summaries": [{"text": " Sum wanted."}, {"text": " Help."}], "choice": 0}
    >>> group = read_summaries(Row(Origin("tldr.jsonl", 1), fields))
    >>> group.prompt, group.pairs
    ('SUBREDDIT: r/sums\n\nTITLE: Help\n\nPOST: What is 2+2?\n\nTL;DR:', (Pair(chosen=0, rejected=1, margin=None),))
    """
    summaries = {
        f"summaries[{index}].text": to_string(row, f"summaries[{index}].text", item.get("text"))
        for index, item in enumerate(read_objects(row, "summaries", "the summaries"))
    }
    if len(summaries) < 2:
        raise row.error("summaries", "has a single item. There must be at least two to compare.")
    return chosen_group(row, _prompt(row), summaries, read_choice(row, "choice", len(summaries)))


def _prompt(row: Row) -> str:
    info = row.fields.get("info")
    if not isinstance(info, Mapping):
        raise row.error("info", f"is of type {type(info).__name__}. It must be an object with a post or an article.")
    if is_blank(info.get("post")):
        return f"Article:\n{_part(row, info, 'article')}\n\nTL;DR:"
    given = [name for name in _POST if name == "post" or not is_blank(info.get(name))]
    return "\n\n".join([*(_POST[name] + _part(row, info, name) for name in given), "TL;DR:"])


def _part(row: Row, info: Mapping[str, Any], name: str) -> str:
    return to_string(row, f"info.{name}", info.get(name))


COMPARISONS = Format(
    name="comparisons",
    about="a prompt, two completions, and which is better, by how much",
    required=(("prompt", "completion_1", "completion_2", "preference"),),
    optional=("margin",),
    read=each_row(read_comparison),
)

SUMMARIES = Format(
    name="summaries",
    about="TL;DR: a post, two summaries of it, and the index of the better one",
    required=(("info", "summaries", "choice"),),
    structures=("info", "summaries"),
    read=each_row(read_summaries),
)

SHP = Format(
    name="shp",
    about="SHP: a post, two comments, and which has more votes",
    required=(("history", "human_ref_A", "human_ref_B", "labels"),),
    optional=("score_A", "score_B"),
    read=each_row(read_shp),
)

ALPACA_EVAL = Format(
    name="alpaca_eval",
    about="AlpacaEval: an instruction, two outputs, and which is better, by how much",
    required=(("instruction", "output_1", "output_2", "preference"),),
    optional=("margin",),
    read=each_row(read_alpaca_eval),
)
