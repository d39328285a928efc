"""Whether the data have the feedback that a method learns from, and which methods they would fit."""

from collections.abc import Mapping, Sequence

from preftune.data.views import PairRule, has_margins, has_order, has_thumbs
from preftune.errors import DataError
from preftune.groups import PromptGroup
from preftune.losses import LOSSES, Feedback

__all__ = ["LACKS", "check_fit", "check_margins", "fits", "methods_that_fit"]

LACKS: Mapping[Feedback, str] = {
    "pairs": "has no pair of a chosen and a rejected completion",
    "thumbs": "has no completion that is marked as desirable or not, and no pair",
    "lists": "has no score for each completion, nor two completions and which of them is better",
}
"""What a prompt lacks whose feedback is of another kind."""

_WAYS_OUT: Mapping[Feedback, str] = {
    "pairs": "Give data with chosen and rejected answers, or with several scored ones",
    "thumbs": "Give data with a label for each answer or with pairs, or make pairs of scores with --pairing",
    "lists": "Give data with several scored answers to a prompt",
}


def check_fit(feedback: Feedback, groups: Sequence[PromptGroup], rule: PairRule) -> None:
    """Make sure that every group has what a method learns from.

    Args:
        feedback: What the method learns from.
        groups: What the data say.
        rule: Where pairs come from.
    Raises:
        DataError: a group lacks it; the text says which methods fit the data.
    """
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
    """Make sure that it is known of every pair how much better the chosen completion is.

    Args:
        groups: With pairs.
    Raises:
        DataError: it is not; the text says which methods fit the data.
    """
    without = [group for group in groups if not has_margins(group)]
    if without:
        raise DataError(
            f"{without[0].origin}: the pair has no margin ({len(without):,} of {len(groups):,} prompts have such "
            "pairs), and this method learns from how much better the chosen completion is. Give a column 'margin', or "
            f"scores of both completions, or use a method that fits the data: {_listed(groups)}."
        )


def methods_that_fit(groups: Sequence[PromptGroup]) -> dict[Feedback, list[str]]:
    """Names of the methods that every group has the feedback for, by what they learn from.

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
    """Whether a group has the feedback, or what it can be made of.

    Args:
        feedback: What is learned from.
        group: What the data say.
        rule: Where pairs come from.
    """
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
