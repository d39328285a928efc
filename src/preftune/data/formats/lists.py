"""Formats with several scored or ranked completions: lists, UltraFeedback, Nectar, StackExchange."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from preftune.data.formats.completions import WEIGHT, read_score_lists, to_weights
from preftune.data.formats.fields import (
    as_conversation,
    is_blank,
    read_completion,
    read_items,
    read_objects,
    read_string,
    read_text,
    to_number,
    to_string,
    to_text,
)
from preftune.data.formats.format import Format, each_row, each_scored_row
from preftune.data.rows import LeftOut, Row
from preftune.groups import PromptGroup, Text, WeightedSpan


@dataclass(frozen=True, slots=True)
class Answer:
    """A scored answer of a row.

    Args:
        name: Field of the answer, for errors.
        score, extra_scores, weights: As in `Completion`.
    """

    name: str
    content: Text
    score: float
    extra_scores: Mapping[str, float] = field(default_factory=dict, hash=False)
    weights: tuple[WeightedSpan, ...] = ()


def scored_group(row: Row, prompt: Text, answers: Sequence[Answer]) -> PromptGroup:
    """A group of scored completions without pairs. If any part is messages, text becomes a user or assistant turn."""
    is_text = all(isinstance(text, str) for text in (prompt, *(answer.content for answer in answers)))
    completions = tuple(
        read_completion(
            row,
            answer.name,
            answer.content if is_text else as_conversation(answer.content, "assistant"),
            score=answer.score,
            extra_scores=answer.extra_scores,
            weights=answer.weights,
        )
        for answer in answers
    )
    return PromptGroup(prompt if is_text else as_conversation(prompt, "user"), completions, (), row.origin)


def read_list(row: Row, extra_scores: Collection[str]) -> PromptGroup:
    """A group of scored completions without pairs, from `prompt`, `completions` and `scores` or else `ranks`.

    `completions` and `scores` are lists of equal length. Rank 1 is the best and becomes the score -1. Prompt and
    completions are text or lists of messages; if any is a list of messages, text becomes a user or assistant turn.
    Optional: `weights`, with the spans of each completion, and a list for each auxiliary score.

    >>> from preftune.groups import Origin
    >>> row = Row(Origin("sums.jsonl", 1), {"prompt": "2+2=", "completions": ["4", "5"], "scores": [1, 0.5]})
    >>> [(completion.content, completion.score) for completion in read_list(row, ()).completions]
    [('4', 1.0), ('5', 0.5)]
    """
    prompt = read_text(row, "prompt")
    items = read_items(row, "completions", "the completions")
    contents = [to_text(row, f"completions[{index}]", item) for index, item in enumerate(items)]
    scores = _read_scores(row, len(contents))
    extra = read_score_lists(row, extra_scores, len(contents))
    weights = _read_weights(row, contents)
    answers = [
        Answer(f"completions[{index}]", content, scores[index], extra[index], weights[index])
        for index, content in enumerate(contents)
    ]
    return scored_group(row, prompt, answers)


def _read_scores(row: Row, length: int) -> list[float]:
    name, sign = ("ranks", -1) if is_blank(row.fields.get("scores")) and "ranks" in row.fields else ("scores", 1)
    items = read_items(row, name, "a number for each completion", length=length)
    return [sign * to_number(row, f"{name}[{index}]", item) for index, item in enumerate(items)]


def _read_weights(row: Row, contents: list[Text]) -> list[tuple[WeightedSpan, ...]]:
    if is_blank(row.fields.get("weights")):
        return [()] * len(contents)
    items: list[Any] = read_items(row, "weights", "the weights of each completion", length=len(contents))
    return [
        () if is_blank(item) else to_weights(row, f"weights[{index}]", item, content)
        for index, (item, content) in enumerate(zip(items, contents, strict=True))
    ]


_SCORES = ("overall_score", "fine-grained_score")


def read_ultrafeedback(row: Row, extra_scores: Collection[str]) -> PromptGroup | LeftOut:
    """A group of scored completions without pairs, from `instruction` and `completions`.

    The text of a completion is in `response`. Its score is `overall_score`, otherwise `fine-grained_score`, otherwise
    the mean rating of its `annotations`. An auxiliary score is the rating of the annotation with that name. The
    instruction becomes a user turn, a response an assistant turn. The system prompts used to generate the responses are
    not part of the prompt.

    Returns:
        The group, or `LeftOut` for a row without completions, of which the published data have some.
    Source: Cui et al. 2023, arXiv:2310.01377; https://huggingface.co/datasets/openbmb/UltraFeedback

    >>> from preftune.groups import Origin
    >>> completions = [{"response": "4", "overall_score": 9.0}, {"response": "5", "overall_score": 2.0}]
    >>> row = Row(Origin("feedback.jsonl", 1), {"instruction": "2+2=", "completions": completions})
    >>> [completion.score for completion in read_ultrafeedback(row, ()).completions]
    [9.0, 2.0]
    """
    prompt = as_conversation(read_string(row, "instruction"), "user")
    if row.fields.get("completions") in ([], ()):
        return LeftOut(row.origin, "no completions")
    items = read_objects(row, "completions", "the completions")
    return scored_group(row, prompt, [_answer(row, index, item, extra_scores) for index, item in enumerate(items)])


def _answer(row: Row, index: int, item: Mapping[str, Any], extra_scores: Collection[str]) -> Answer:
    name = f"completions[{index}]"
    content = to_string(row, f"{name}.response", item.get("response"))
    extra = {score: _rating(row, name, item, score) for score in extra_scores}
    return Answer(f"{name}.response", content, _score(row, name, item), extra)


def _score(row: Row, name: str, item: Mapping[str, Any]) -> float:
    for key in _SCORES:
        if not is_blank(item.get(key)):
            return to_number(row, f"{name}.{key}", item[key])
    annotations = item.get("annotations")
    if not isinstance(annotations, Mapping) or not annotations:
        raise row.error(f"{name}.overall_score", "is missing, and there are no annotations to take the mean of.")
    ratings = [_rating(row, name, item, aspect) for aspect in annotations]
    return sum(ratings) / len(ratings)


def _rating(row: Row, name: str, item: Mapping[str, Any], aspect: str) -> float:
    annotations = item.get("annotations")
    annotation = annotations.get(aspect) if isinstance(annotations, Mapping) else None
    rating = annotation.get("Rating") if isinstance(annotation, Mapping) else None
    if rating is None:
        raise row.error(f"{name}.annotations.{aspect}.Rating", "is missing.")
    return to_number(row, f"{name}.annotations.{aspect}.Rating", rating)


def read_nectar(row: Row) -> PromptGroup:
    r"""A group of scored completions without pairs, from `prompt` and `answers`.

    The text of an answer is in `answer` and its rank in `rank`; rank 1 is the best and becomes the score -1. Prompts of
    the published data are transcripts, `\n\nHuman: ... \n\nAssistant: `, and are kept as text.

    Source: https://huggingface.co/datasets/berkeley-nest/Nectar

    >>> from preftune.groups import Origin
    >>> answers = [{"answer": "5", "rank": 2.0}, {"answer": "4", "rank": 1.0}]
    >>> row = Row(Origin("ranks.jsonl", 1), {"prompt": "\n\nHuman: 2+2= \n\nAssistant: ", "answers": answers})
    >>> [completion.score for completion in read_nectar(row).completions]
    [-2.0, -1.0]
    """
    prompt = read_text(row, "prompt")
    answers = [
        Answer(
            f"answers[{index}].answer",
            to_text(row, f"answers[{index}].answer", item.get("answer")),
            -to_number(row, f"answers[{index}].rank", item.get("rank")),
        )
        for index, item in enumerate(read_objects(row, "answers", "the ranked answers"))
    ]
    return scored_group(row, prompt, answers)


def read_stack_exchange(row: Row) -> PromptGroup:
    """A group of scored completions without pairs, from `question` and `answers`.

    The text of an answer is in `text` and its score in `pm_score`: log2(1 + votes) rounded, plus 1 if the asker
    accepted it, -1 for negative votes. The question becomes a user turn, an answer an assistant turn. Both are HTML in
    the published data and are kept as they are.

    Source: https://huggingface.co/datasets/HuggingFaceH4/stack-exchange-preferences; scores: Askell et al. 2021,
        arXiv:2112.00861.

    >>> from preftune.groups import Origin
    >>> answers = [{"text": "4", "pm_score": 3, "selected": True}, {"text": "5", "pm_score": 0, "selected": False}]
    >>> row = Row(Origin("answers.jsonl", 1), {"question": "2+2=", "answers": answers})
    >>> [completion.score for completion in read_stack_exchange(row).completions]
    [3.0, 0.0]
    """
    prompt = as_conversation(read_string(row, "question"), "user")
    answers = [
        Answer(
            f"answers[{index}].text",
            to_string(row, f"answers[{index}].text", item.get("text")),
            to_number(row, f"answers[{index}].pm_score", item.get("pm_score")),
        )
        for index, item in enumerate(read_objects(row, "answers", "the answers"))
    ]
    return scored_group(row, prompt, answers)


LISTS = Format(
    name="lists",
    about="a prompt, completions, and the score or rank of each",
    required=(("prompt", "completions", "scores"), ("prompt", "completions", "ranks")),
    optional=("weights",),
    structures=("completions", "scores", "ranks", "weights", WEIGHT),
    extra=("{}",),
    read=each_scored_row(read_list),
)

ULTRAFEEDBACK = Format(
    name="ultrafeedback",
    about="UltraFeedback: an instruction and completions, each an object with its scores",
    required=(("instruction", "completions"),),
    nested_extra=True,
    structures=("completions",),
    read=each_scored_row(read_ultrafeedback),
)

NECTAR = Format(
    name="nectar",
    about="Nectar: a prompt and answers, each an object with its rank",
    required=(("prompt", "answers"),),
    structures=("answers",),
    read=each_row(read_nectar),
)

STACK_EXCHANGE = Format(
    name="stack_exchange",
    about="StackExchange: a question and answers, each an object with its score",
    required=(("question", "answers"),),
    structures=("answers",),
    read=each_row(read_stack_exchange),
)
