"""What a method learns from, taken out of the groups."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from preftune.errors import DataError
from preftune.groups import PromptGroup
from preftune.losses import Feedback

__all__ = ["groups_for"]


def groups_for(feedback: Feedback, groups: Sequence[PromptGroup]) -> list[PromptGroup]:
    """The groups as a method with this feedback sees them.

    `pairs`: groups as they are; each must have a pair. `completions`: only completions worth imitating, which are
    those chosen in a pair, or all of a group without pairs but the undesirable.

    Raises:
        DataError: the data lacks the feedback.

    >>> from preftune.groups import Completion, Origin, Pair
    >>> group = PromptGroup("2+2=", (Completion("5"), Completion("4")), (Pair(1, 0),), Origin("sums.jsonl", 1))
    >>> [completion.content for completion in groups_for("completions", [group])[0].completions]
    ['4']
    """
    if feedback == "completions":
        return list(_demonstrations(groups))
    without = [group for group in groups if not group.pairs]
    if without:
        raise DataError(
            f"{without[0].origin}: the prompt has no pair of a chosen and a rejected completion ({len(without):,} of "
            f"{len(groups):,} prompts have none), and this method learns from pairs. "
            "Give data with chosen and rejected answers, or use --method sft."
        )
    return list(groups)


def _demonstrations(groups: Sequence[PromptGroup]) -> Iterator[PromptGroup]:
    some = False
    for group in groups:
        chosen = {pair.chosen for pair in group.pairs}
        kept = tuple(
            completion
            for index, completion in enumerate(group.completions)
            if (index in chosen if chosen else completion.desirable is not False)
        )
        if kept:
            some = True
            yield replace(group, completions=kept, pairs=())
    if not some:
        raise DataError("no completion of the data is worth imitating: all are marked as undesirable.")
