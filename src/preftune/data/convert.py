"""Prompt groups written as the rows of a format."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from preftune.data.conversations import conversation_of
from preftune.data.feedback import LACKS, check_rule_is_used, fits, view_of
from preftune.data.formats.completions import WEIGHT
from preftune.data.quality.checks.texts import TEMPLATE_TOKENS
from preftune.data.rows import BadRow, LeftOut
from preftune.data.views import LOST, PairRule, View, scores_of
from preftune.errors import ConfigError, DataError
from preftune.groups import Origin, PromptGroup, TemplateInputs, Text, WeightedSpan
from preftune.losses import Feedback
from preftune.settings.chat import ChatMode

Columns = dict[str, Any]
"""A row to write, by column."""


@dataclass(frozen=True, slots=True)
class Target:
    """A format to write.

    Args:
        feedback: Feedback that a group must have, or data from which it can be made; None: that of the first group.
        about: The columns, in a few words.
        rows: Makes the rows of a group, with auxiliary scores of these names if there are any.
    """

    feedback: Feedback | None
    about: str
    rows: Callable[[PromptGroup, Collection[str]], Iterator[Columns]]


def pair_rows(group: PromptGroup, extra_scores: Collection[str]) -> Iterator[Columns]:
    """A row per pair, with all columns of the format `pairs`.

    >>> from preftune.groups import Completion, Origin, Pair
    >>> answers = (Completion("5", score=1.0), Completion("4", score=3.0))
    >>> group = PromptGroup("2+2=", answers, (Pair(1, 0, 2.0),), Origin("sums", 1))
    >>> for row in pair_rows(group, ()):
    ...     print(row)
    {'prompt': '2+2=', 'chosen': '4', 'rejected': '5', 'margin': 2.0, 'score_chosen': 3.0, 'score_rejected': 1.0}
    """
    for pair, row in zip(group.pairs, plain_pair_rows(group, ()), strict=True):
        sides = {"chosen": group.completions[pair.chosen], "rejected": group.completions[pair.rejected]}
        known: Columns = {
            "margin": pair.margin,
            WEIGHT: _unless_one(group.weight_of(pair.chosen, pair.rejected)),
            **{f"score_{side}": completion.score for side, completion in sides.items()},
        }
        for side, completion in sides.items():
            known[f"{side}_weights"] = _spans(completion.weights) or None
            known.update({f"{side}_{name}": completion.extra_scores.get(name) for name in extra_scores})
        yield row | {column: value for column, value in known.items() if value is not None}


def plain_pair_rows(group: PromptGroup, _: Collection[str]) -> Iterator[Columns]:
    """A row per pair: `prompt`, `chosen` and `rejected`."""
    for pair in group.pairs:
        yield {
            "prompt": _plain(group.prompt),
            "chosen": _plain(group.completions[pair.chosen].content),
            "rejected": _plain(group.completions[pair.rejected].content),
        }


def list_rows(group: PromptGroup, extra_scores: Collection[str]) -> Iterator[Columns]:
    """A row with all completions, and all columns of the format `lists`."""
    completions = group.completions
    row: Columns = {
        "prompt": _plain(group.prompt),
        "completions": [_plain(completion.content) for completion in completions],
        "scores": [completion.score for completion in completions],
    }
    if any(completion.weights for completion in completions):
        row["weights"] = [_spans(completion.weights) for completion in completions]
    for name in extra_scores:
        row[name] = [completion.extra_scores.get(name) for completion in completions]
    if any(completion.weight != 1 for completion in completions):
        row[WEIGHT] = [group.weight_of(index) for index in range(len(completions))]
    elif group.weight != 1:
        row[WEIGHT] = group.weight
    yield row


def thumb_rows(group: PromptGroup, _: Collection[str]) -> Iterator[Columns]:
    """A row per completion, with all columns of the format `thumbs`."""
    rows = zip(group.completions, plain_thumb_rows(group, ()), demonstration_rows(group, ()), strict=True)
    for completion, row, weighted in rows:
        yield weighted | row | ({"weights": _spans(completion.weights)} if completion.weights else {})


def plain_thumb_rows(group: PromptGroup, _: Collection[str]) -> Iterator[Columns]:
    """A row per completion: `prompt`, `completion` and `label`."""
    for completion in group.completions:
        row = {"prompt": _plain(group.prompt), "completion": _plain(completion.content)}
        yield row | {"label": completion.desirable}


def demonstration_rows(group: PromptGroup, _: Collection[str]) -> Iterator[Columns]:
    """A row per completion: `prompt` and `completion`, and its weight."""
    for index, completion in enumerate(group.completions):
        weight = _unless_one(group.weight_of(index))
        row = {"prompt": _plain(group.prompt), "completion": _plain(completion.content)}
        yield row if weight is None else row | {WEIGHT: weight}


def message_rows(group: PromptGroup, _: Collection[str]) -> Iterator[Columns]:
    """A row per completion: `messages`, or `prompt` and `completion` if the completion is more than one message."""
    for completion, row in zip(group.completions, demonstration_rows(group, ()), strict=True):
        is_single = len(completion.content) == 1
        yield {"messages": [*row.pop("prompt"), *row.pop("completion")], **row} if is_single else row


_SPOKEN: Mapping[Feedback, Target] = {
    "pairs": Target("pairs", "", pair_rows),
    "lists": Target("lists", "", list_rows),
    "thumbs": Target("thumbs", "", thumb_rows),
    "demonstrations": Target("demonstrations", "", message_rows),
}
"""Formats of `messages`, by the feedback of the first group, from the most to the least that it says."""

TARGETS: Mapping[str, Target] = {
    "pairs": Target("pairs", "prompt, chosen, rejected; margin, scores, weight, weights if there are any", pair_rows),
    "thumbs": Target("thumbs", "prompt, completion, label; weight and weights if there are any", thumb_rows),
    "lists": Target("lists", "prompt, completions, scores; weight and weights if there are any", list_rows),
    "demonstrations": Target("demonstrations", "prompt, completion; weight if there is one", demonstration_rows),
    "messages": Target(
        None, "lists of messages: the columns of pairs, lists or thumbs; messages for demonstrations", message_rows
    ),
    "trl-preference": Target(
        "pairs", "prompt, chosen, rejected and nothing else, for TRL's DPOTrainer", plain_pair_rows
    ),
    "trl-unpaired": Target(
        "thumbs", "prompt, completion, label and nothing else, for TRL's KTOTrainer", plain_thumb_rows
    ),
}
"""Formats that can be written, by name."""


def _plain(text: Text) -> Any:
    return text if isinstance(text, str) else [message.as_dict() for message in text]


def _template_columns(inputs: TemplateInputs) -> Columns:
    columns: Columns = {"tools": list(inputs.tools), "chat_template_kwargs": dict(inputs.variables)}
    return {name: value for name, value in columns.items() if value}


def _unless_one(weight: float) -> float | None:
    return None if weight == 1 else weight


def _spans(weights: Iterable[WeightedSpan]) -> list[list[float]]:
    return [[span.start, span.stop, span.weight] for span in weights]


_SHOWN_PLACES = 3
_MARKS = tuple(mark for mark in TEMPLATE_TOKENS if mark[0] in "<[")
"""Marks of rendered text; other marks are speakers of transcripts."""


@dataclass(slots=True)
class Conversion:
    """Counts of a conversion in progress.

    Args:
        left_out: Number of rows, pairs or completions left out, by reason.
        places: Origins of the first of them, by reason.
    """

    num_groups: int = 0
    num_written: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    places: dict[str, list[Origin]] = field(default_factory=dict)

    def leave_out(self, reason: str, origin: Origin, count: int = 1) -> None:
        """Count something that is left out."""
        self.left_out[reason] = self.left_out.get(reason, 0) + count
        places = self.places.setdefault(reason, [])
        if len(places) < _SHOWN_PLACES:
            places.append(origin)


@dataclass(frozen=True, slots=True)
class Converter:
    """Converts groups to rows of a format.

    Args:
        target: Name of the format, one of `TARGETS`.
        chat: Text becomes turns: on, or off, or auto, which is on for `messages` alone.
        extra_scores: Names of auxiliary scores to keep; only pairs and lists have columns for them.
        skips_bad_rows: Leave unusable rows out. If false, the first one is an error.
    Raises:
        ConfigError: an unknown target, or options that do not apply to it.

    >>> from preftune.groups import Completion, Pair
    >>> group = PromptGroup("2+2=", (Completion("5"), Completion("4")), (Pair(1, 0),), Origin("sums.jsonl", 1))
    >>> for row in Converter("thumbs").rows([group], Conversion()):
    ...     print(row)
    {'prompt': '2+2=', 'completion': '5', 'label': False}
    {'prompt': '2+2=', 'completion': '4', 'label': True}
    """

    target: str
    rule: PairRule = field(default_factory=PairRule)
    extra_scores: Collection[str] = ()
    skips_bad_rows: bool = False
    chat: ChatMode = "auto"

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise ConfigError([f"to = {self.target}: must be one of {', '.join(TARGETS)}."])
        feedback = TARGETS[self.target].feedback
        problems = []
        if feedback not in ("pairs", "thumbs", None) and (self.rule.pairing or self.rule.min_score_gap):
            problems.append(f"pairing: nothing is paired for {self.target}. Leave it and min_score_gap out.")
        if self.target == "messages" and self.chat == "off":
            problems.append("chat = off: keeps text as it is, and to = messages makes messages of it. Leave one out.")
        if self.extra_scores and self.target not in ("pairs", "lists", "messages"):
            problems.append(f"score: {self.target} has no columns for {', '.join(self.extra_scores)}. Leave it out.")
        if problems:
            raise ConfigError(problems)

    def rows(self, items: Iterable[PromptGroup | BadRow | LeftOut], conversion: Conversion) -> Iterator[Columns]:
        """The rows of groups, one by one, in memory that does not grow with the data.

        Raises:
            DataError: an unusable row, unless these are skipped; no row can be written.
        """
        first: PromptGroup | None = None
        target = TARGETS[self.target]
        for item in items:
            if isinstance(item, PromptGroup):
                if first is None:
                    first, target = item, self._target_for(item)
                conversion.num_groups += 1
                for row in self._rows_of(item, target, conversion):
                    conversion.num_written += 1
                    yield row
            elif isinstance(item, LeftOut):
                conversion.leave_out(item.reason, item.origin)
            elif self.skips_bad_rows:
                conversion.leave_out("rows cannot be used", item.origin)
            else:
                raise DataError(f"{item} Fix the row, or skip such rows with --on-bad-row skip.")
        if not conversion.num_written:
            raise self._nothing_written(first, target, conversion)

    def _target_for(self, first: PromptGroup) -> Target:
        """The target of all groups, as the first one shows it."""
        target = TARGETS[self.target]
        if target.feedback is not None:
            return target
        return next(own for feedback, own in _SPOKEN.items() if self._says(first, feedback))

    def _says(self, group: PromptGroup, feedback: Feedback) -> bool:
        if feedback == "pairs":
            return bool(group.pairs) or self.rule.pairing is not None
        if feedback == "lists":
            return len(group.completions) > 1 and scores_of(group) is not None
        return feedback == "demonstrations" or any(completion.desirable is not None for completion in group.completions)

    def _rows_of(self, group: PromptGroup, target: Target, conversion: Conversion) -> Iterator[Columns]:
        feedback = target.feedback
        assert feedback is not None, "_target_for names it"
        if self.chat == "on" or self.target == "messages":
            if isinstance(group.prompt, str) and (
                mark := next((mark for mark in _MARKS if mark in group.prompt), None)
            ):
                conversion.leave_out(
                    f"prompts: each is text that a chat template has rendered, with {mark}", group.origin
                )
                return
            group = conversation_of(group)
        check_rule_is_used(feedback, [group], self.rule)
        if not fits(feedback, group, self.rule):
            conversion.leave_out(f"prompts: each {LACKS[feedback]}", group.origin)
            return
        # A single scored completion gives no training signal, but it is a valid list.
        is_list = feedback == "lists" and scores_of(group) is not None
        view = View(group) if is_list else view_of(feedback, group, self.rule)
        for reason, count in view.lost.items():
            if count:
                conversion.leave_out(LOST[reason], group.origin, count)
        if view.group is None:
            if not any(view.lost.values()):
                conversion.leave_out("prompts: none of their completions can be imitated", group.origin)
            return
        inputs = _template_columns(view.group.inputs)
        for row in target.rows(view.group, self.extra_scores):
            yield row | inputs

    def _nothing_written(self, first: PromptGroup | None, target: Target, conversion: Conversion) -> DataError:
        reasons = "; ".join(
            f"{count:,} {reason}, such as {conversion.places[reason][0]}"
            for reason, count in conversion.left_out.items()
        )
        fitting = [
            name for name, one in TARGETS.items() if first and one.feedback and fits(one.feedback, first, self.rule)
        ]
        way_out = f"The first prompt can become: {', '.join(fitting)}." if fitting else "Check --format and --where."
        if target.feedback == "thumbs" and "lists" in fitting:
            way_out += " Or make pairs of its scores with --pairing."
        return DataError(f"no row could be converted to {self.target}: {reasons}. {way_out}")
