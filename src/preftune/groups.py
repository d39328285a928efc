"""The data record: a prompt, its completions, and their feedback."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from preftune.errors import DataError


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Args:
        role: `system`, `user`, `assistant`, `tool`, or another role of the chat template.
        content: Text of the turn. May be empty if `extra` is not, as in a tool call.
        extra: Further fields for the chat template, such as `tool_calls`.
    """

    role: str
    content: str
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def as_dict(self) -> dict[str, Any]:
        """The message as chat templates take it."""
        return {"role": self.role, "content": self.content, **self.extra}


Text = str | tuple[Message, ...]
"""Plain text, or the messages of a conversation."""


_SET_BY_US = (
    "add_generation_prompt",
    "chat_template",
    "continue_final_message",
    "conversation",
    "messages",
    "return_dict",
    "tokenize",
    "tools",
)


def template_variable_problem(variables: Mapping[str, Any]) -> str | None:
    """A sentence on the first variable that a chat template cannot be given, or None if all can.

    >>> template_variable_problem({"tools": []})
    "gives 'tools', which the conversation itself decides."
    """
    taken = next((name for name in variables if name in _SET_BY_US), None)
    return None if taken is None else f"gives '{taken}', which the conversation itself decides."


@dataclass(frozen=True, slots=True)
class TemplateInputs:
    """Inputs of the chat template beside the messages.

    Args:
        tools: Descriptions of the functions that the assistant may call, as JSON schemas.
        variables: Further variables of the template, such as `enable_thinking`. They precede those of the run.
    Raises:
        DataError: a tool that is not an object, or a variable that the conversation itself decides.

    >>> bool(TemplateInputs()), bool(TemplateInputs(variables={"enable_thinking": False}))
    (False, True)
    """

    tools: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    variables: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for index, tool in enumerate(self.tools):
            if not isinstance(tool, Mapping):
                raise DataError(
                    f"'tools[{index}]' is of type {type(tool).__name__}. A tool is an object with its name and its "
                    "parameters as a JSON schema."
                )
        if problem := template_variable_problem(self.variables):
            raise DataError(f"'chat_template_kwargs' {problem} Leave it out.")

    def __bool__(self) -> bool:
        return bool(self.tools or self.variables)


NO_INPUTS = TemplateInputs()
"""Nothing beside the messages."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt to continue.

    Args:
        inputs: Inputs of the chat template beside the messages.
    """

    text: Text
    inputs: TemplateInputs = NO_INPUTS


@dataclass(frozen=True, slots=True)
class Origin:
    """The source and row of a record.

    >>> str(Origin("prefs.jsonl", 17))
    'prefs.jsonl:17'
    """

    source: str
    row: int
    """Line of a text file or row of a table, from 1."""

    def __str__(self) -> str:
        return f"{self.source}:{self.row}"


@dataclass(frozen=True, slots=True)
class WeightedSpan:
    """A weighted span of a completion's text. Text outside all spans has weight 1.

    Args:
        start, stop: Characters of the text, as in `text[start:stop]`; at least one.
        weight: Factor of the log-probs in the span, >= 0.
    Raises:
        DataError: an empty span, or a weight out of range.
    """

    start: int
    stop: int
    weight: float

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.stop:
            raise DataError(
                f"the span [{self.start}, {self.stop}) holds no characters. Its start must be at least 0, its stop "
                "greater than its start."
            )
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise DataError(
                f"the weight of the span [{self.start}, {self.stop}) is {self.weight}. It must be a finite number, at "
                "least 0."
            )


def span_problem(spans: Sequence[WeightedSpan], text: str | None) -> str | None:
    """A sentence on the problem with the spans of a text, or None if they are valid.

    Args:
        spans: The spans, in any order.
        text: The text; None if there is no text to weight.

    >>> span_problem([WeightedSpan(0, 3, 0.5), WeightedSpan(2, 4, 2.0)], "four")
    'has spans [0, 3) and [2, 4) that overlap, so some characters would have two weights.'
    """
    if not spans:
        return None
    if text is None:
        return "has weights but no assistant message that they could apply to."
    for span in spans:
        if span.stop > len(text):
            return f"has a span [{span.start}, {span.stop}) beyond its text, which has {len(text)} characters."
    for first, second in pairwise(sorted(spans, key=lambda span: span.start)):
        if second.start < first.stop:
            return (
                f"has spans [{first.start}, {first.stop}) and [{second.start}, {second.stop}) that overlap, so some "
                "characters would have two weights."
            )
    return None


def check_weight(weight: float) -> None:
    """Raise an error unless a weight in the loss is a finite number, at least 0."""
    if not (math.isfinite(weight) and weight >= 0):
        raise DataError(f"the weight is {weight}. It must be a finite number, at least 0.")


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer to a prompt.

    Args:
        content: The text or messages that follow the prompt; not empty.
        score: Quality on the scale of the data; higher is better.
        desirable: Thumbs up (True) or down (False).
        extra_scores: Auxiliary scores, such as safety, by name.
        weights: Weights of characters of `weighted_text`; spans do not overlap.
        weight: Weight in the mean of the loss, >= 0, on top of that of the group.
    """

    content: Text
    score: float | None = None
    desirable: bool | None = None
    extra_scores: Mapping[str, float] = field(default_factory=dict, hash=False)
    weights: tuple[WeightedSpan, ...] = ()
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_weight(self.weight)
        if not self.content:
            raise DataError(
                "the completion is empty. It has nothing to learn from. Fill it or leave the row out.", fault="empty"
            )
        for name, score in {"score": self.score, **self.extra_scores}.items():
            if score is not None and not math.isfinite(score):
                raise DataError(f"the {name} is {score}, not a finite number. Correct it or leave the row out.")

    @property
    def weighted_text(self) -> str | None:
        """The text that `weights` index: the text, or the content of the first assistant message."""
        if isinstance(self.content, str):
            return self.content
        return next((message.content for message in self.content if message.role == "assistant"), None)


@dataclass(frozen=True, slots=True)
class Pair:
    """A preference between two completions of a group, given by their indices.

    Args:
        chosen: Index of the better completion.
        rejected: Index of the worse completion.
        margin: Strength of the preference on the scale of the data, if known.
    """

    chosen: int
    rejected: int
    margin: float | None = None

    def __post_init__(self) -> None:
        if self.margin is not None and not math.isfinite(self.margin):
            raise DataError(f"the margin is {self.margin}, not a finite number. Correct it or leave the row out.")


@dataclass(frozen=True, slots=True)
class PromptGroup:
    """One prompt, its completions and their feedback. Pairs, scores and thumbs are views of it.

    Args:
        prompt: The text or messages before every completion. A group is all text or all messages.
        completions: At least one.
        pairs: Preferences among the completions.
        origin: Source and row, for reports and errors.
        inputs: Inputs of the chat template beside the messages.
        weight: Weight in the mean of the loss, >= 0, of everything that is learned from the group: 2 counts as much as
            two such groups.
    Raises:
        DataError: a weight out of range; a pair with an index out of range, or of equal completions; no completion;
            text mixed with messages; weights beyond a completion's text, or overlapping.

    >>> group = PromptGroup("2+2=", (Completion("4"), Completion("5")), (Pair(0, 1),), Origin("sums.jsonl", 1))
    >>> group.is_conversation
    False
    """

    prompt: Text
    completions: tuple[Completion, ...]
    pairs: tuple[Pair, ...]
    origin: Origin
    inputs: TemplateInputs = NO_INPUTS
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_weight(self.weight)
        if not self.completions:
            raise DataError(f"{self.origin}: the group has no completions. It needs at least one.")
        if any(isinstance(completion.content, str) == self.is_conversation for completion in self.completions):
            raise DataError(
                f"{self.origin}: the prompt is {_kind(self.prompt)} but a completion is not. "
                "Give both as text, or both as lists of messages."
            )
        for index, completion in enumerate(self.completions):
            if problem := span_problem(completion.weights, completion.weighted_text):
                raise DataError(f"{self.origin}: completion {index} {problem} Correct the row or leave it out.")
        for pair in self.pairs:
            self._check(pair)

    def _check(self, pair: Pair) -> None:
        last = len(self.completions) - 1
        for index in (pair.chosen, pair.rejected):
            if not 0 <= index <= last:
                raise DataError(
                    f"{self.origin}: pair ({pair.chosen}, {pair.rejected}) names completion {index}, but the group "
                    f"has {last + 1} completions (0-{last}). Correct the row or leave it out."
                )
        if self.completions[pair.chosen].content == self.completions[pair.rejected].content:
            raise DataError(
                f"{self.origin}: chosen and rejected are equal, so the pair says nothing about which is better. "
                "Correct the row or leave it out.",
                fault="equal",
            )

    def weight_of(self, *completions: int) -> float:
        """Weight in the loss of some completions together: of one by itself, or of the two of a pair.

        >>> answers = (Completion("4", weight=3.0), Completion("5"))
        >>> PromptGroup("2+2=", answers, (Pair(0, 1),), Origin("sums.jsonl", 1), weight=0.5).weight_of(0, 1)
        1.5
        """
        return math.prod((self.weight, *(self.completions[index].weight for index in completions)))

    @property
    def is_conversation(self) -> bool:
        """True if the group consists of messages, which a chat template renders as text."""
        return not isinstance(self.prompt, str)


def _kind(text: Text) -> str:
    return "text" if isinstance(text, str) else "a list of messages"


def common_start(first: str, second: str) -> str:
    """The longest common prefix of two texts.

    >>> common_start("The sky is blue", "The sky is bleak")
    'The sky is bl'
    """
    pairs = zip(first, second, strict=False)
    return first[: next((index for index, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))]
