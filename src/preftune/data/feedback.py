"""The feedback that a method learns from, taken from prompt groups; and the methods that fit given data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from preftune.data.views import (
    Lost,
    PairRule,
    View,
    demonstration_view,
    has_margins,
    has_order,
    has_thumbs,
    list_view,
    thumb_view,
    with_margins,
    without_weightless,
)
from preftune.errors import ConfigError, DataError
from preftune.groups import Origin, PromptGroup
from preftune.losses import LOSSES, Feedback

LACKS: Mapping[Feedback, str] = {
    "pairs": "has no pair of a chosen and a rejected completion",
    "thumbs": "has no completion that is marked as desirable or not, and no pair",
    "lists": "has no score for each completion, nor two completions and which of them is better",
}
"""Text on a prompt without the feedback, by kind."""

_WAYS_OUT: Mapping[Feedback, str] = {
    "pairs": "Give data with chosen and rejected answers, or with several scored ones",
    "thumbs": "Give data with a label for each answer or with pairs, or make pairs of scores with --pairing",
    "lists": "Give data with several scored answers to a prompt",
}


def check_fit(feedback: Feedback, groups: Sequence[PromptGroup], rule: PairRule) -> None:
    """Raise an error unless every group has the feedback that a method learns from."""
    without = [group for group in groups if not fits(feedback, group, rule)]
    if not without:
        return
    lacks, way_out = LACKS[feedback], _WAYS_OUT[feedback]
    if feedback in ("pairs", "thumbs") and rule.pairing not in (None, "given"):
        lacks = f"has no score for each completion, of which --pairing {rule.pairing} would make pairs"
        way_out = "Give scores, or leave --pairing out"
    raise DataError(
        f"{without[0].origin}: the prompt {lacks} ({len(without):,} of {len(groups):,} prompts have none), and this "
        f"method learns from {feedback}. {way_out}, or use a method that fits the data: {_listed(groups)}."
    )


def check_margins(groups: Sequence[PromptGroup]) -> None:
    """Raise an error unless every pair has a margin, given or as a difference of scores."""
    without = [group for group in groups if not has_margins(group)]
    if without:
        raise DataError(
            f"{without[0].origin}: the pair has no margin ({len(without):,} of {len(groups):,} prompts have such "
            "pairs), and this method learns from margins. Give a column 'margin', or "
            f"scores of both completions, or use a method that fits the data: {_listed(groups)}."
        )


def methods_that_fit(groups: Sequence[PromptGroup]) -> dict[Feedback, list[str]]:
    """Names of the methods for which every group has the feedback, by kind of feedback.

    >>> from preftune.groups import Completion, Origin
    >>> methods_that_fit([PromptGroup("2+2=", (Completion("4"),), (), Origin("sums.jsonl", 1))])
    {'demonstrations': ['sft']}
    """
    kinds = {loss.feedback for loss in LOSSES.values()}
    fitting = {kind for kind in kinds if all(fits(kind, group, PairRule()) for group in groups)}
    with_margins = all(has_margins(group) for group in groups)
    found: dict[Feedback, list[str]] = {}
    for name, loss in LOSSES.items():
        if loss.feedback in fitting and (with_margins or not loss.needs("margins")):
            found.setdefault(loss.feedback, []).append(name)
    return found


def _listed(groups: Sequence[PromptGroup]) -> str:
    return "; ".join(f"{', '.join(names)} ({kind})" for kind, names in methods_that_fit(groups).items())


def fits(feedback: Feedback, group: PromptGroup, rule: PairRule) -> bool:
    """True if a group has the feedback, or data from which it can be made."""
    match feedback:
        case "pairs":
            return rule.fits(group)
        case (
            "thumbs"
        ):  # scores say what is better, not what is good: only a rule that is asked for makes thumbs of them
            return has_thumbs(group) or (bool(group.pairs) if rule.pairing is None else rule.fits(group))
        case "lists":
            return has_order(group)
        case "demonstrations":
            return True


_NOTHING_LEFT: Mapping[Feedback, str] = {
    "pairs": "no pair is left of {prompts}: all scores are equal or too close. Check the scores, or lower "
    "--min-score-gap.",
    "thumbs": "no completion is left of {prompts} that is either desirable or undesirable. Check the data.",
    "lists": "no two completions that could be compared are left of {prompts}. Check the data.",
    "demonstrations": "no completion of {prompts} can be imitated: all are marked as undesirable. Check the data.",
}


@dataclass(frozen=True, slots=True)
class FeedbackReport:
    """Unused feedback by reason, as in `LOST`: the origin of each pair, prompt or completion."""

    tied: tuple[Origin, ...] = ()
    under_gap: tuple[Origin, ...] = ()
    equal: tuple[Origin, ...] = ()
    unpaired: tuple[Origin, ...] = ()
    ambiguous: tuple[Origin, ...] = ()
    unmarked: tuple[Origin, ...] = ()
    undesirable: tuple[Origin, ...] = ()
    weightless: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True)
class FittedGroups:
    """Groups reduced to the feedback of a method, and a report of unused feedback."""

    groups: list[PromptGroup]
    report: FeedbackReport


def groups_for(
    feedback: Feedback, groups: Sequence[PromptGroup], *, needs_margins: bool = False, rule: PairRule | None = None
) -> FittedGroups:
    """Reduce groups to the feedback that a method learns from.

    `pairs`: pairs of the data or made from scores, and the completions in them. `thumbs`: completions that are marked,
    or that are chosen or rejected in a pair. `lists`: two or more scored completions. `demonstrations`: completions to
    imitate. An empty group is left out and reported.

    Args:
        rule: Source of the pairs. Default: pairs of the data, else all pairs of different scores.
    Raises:
        DataError: the data lack the feedback. The message names the methods that fit the data.

    >>> from preftune.groups import Completion, Origin, Pair
    >>> group = PromptGroup("2+2=", (Completion("5"), Completion("4")), (Pair(1, 0),), Origin("sums.jsonl", 1))
    >>> [completion.content for completion in groups_for("demonstrations", [group]).groups[0].completions]
    ['4']
    """
    rule = rule or PairRule()
    check_fit(feedback, groups, rule)
    check_rule_is_used(feedback, groups, rule)
    views = [view_of(feedback, group, rule) for group in groups]
    fitted = [view.group for view in views if view.group is not None]
    if groups and not fitted:
        prompts = f"{len(groups):,} prompts (the first: {groups[0].origin})"
        raise DataError(_NOTHING_LEFT[feedback].format(prompts=prompts))
    if needs_margins:
        check_margins(fitted)
        fitted = [with_margins(group) for group in fitted]
    return FittedGroups(fitted, _report(groups, views))


def check_rule_is_used(feedback: Feedback, groups: Sequence[PromptGroup], rule: PairRule) -> None:
    """Raise an error if the options of `rule` have no effect on some groups."""
    marked = next((group for group in groups if feedback == "thumbs" and has_thumbs(group)), None)
    if marked is not None and (rule.pairing or rule.min_score_gap):
        raise ConfigError([f"pairing: {marked.origin} already has thumbs, so no pairs are made. Leave it out."])
    given = next((group for group in groups if rule.score_rule(group) is None), None)
    if given is not None and rule.min_score_gap:
        raise ConfigError(
            [
                f"min_score_gap = {rule.min_score_gap:g}: the pairs of the data ({given.origin}) are kept at any gap. "
                "Make pairs of the scores with --pairing all, or leave it out."
            ]
        )


def view_of(feedback: Feedback, group: PromptGroup, rule: PairRule) -> View:
    """The view of a group for a kind of feedback that it has. Completions and pairs of weight 0 are left out.

    Raises:
        DataError: completions of different weights for a method that learns from the list as a whole.
    """
    view = _view_of(feedback, group, rule)
    if view.group is None or all(completion.weight == 1 for completion in group.completions):
        return view
    if feedback == "lists":
        raise DataError(
            f"{group.origin}: the completions have weights of their own, but this method has one loss for the whole "
            "list. Give one weight for the row, or use a method that learns from pairs, thumbs or demonstrations."
        )
    return without_weightless(view, by_pairs=feedback == "pairs")


def _view_of(feedback: Feedback, group: PromptGroup, rule: PairRule) -> View:
    match feedback:
        case "pairs":
            return rule.view(group)
        case "thumbs":
            return thumb_view(group, rule)
        case "lists":
            return list_view(group)
        case "demonstrations":
            return demonstration_view(group)


def _report(groups: Sequence[PromptGroup], views: Sequence[View]) -> FeedbackReport:
    lost: dict[Lost, list[Origin]] = {}
    for group, view in zip(groups, views, strict=True):
        for reason, count in view.lost.items():
            lost.setdefault(reason, []).extend([group.origin] * count)
    return FeedbackReport(**{reason: tuple(origins) for reason, origins in lost.items()})
