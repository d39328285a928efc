"""At most so many pairs, completions or lists of one prompt, so that no prompt outweighs the others."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from preftune.data.normalised import normalised_prompt
from preftune.data.views.view import only
from preftune.groups import Origin, PromptGroup
from preftune.losses import Feedback

__all__ = ["Capped", "cap_per_prompt"]

_Unit = tuple[int, int]
"""Index of a group, and of the pair or completion within it."""


@dataclass(frozen=True, slots=True)
class Capped:
    """The groups with what is left of them, and origins of the pairs, completions or lists left out, once for each."""

    groups: list[PromptGroup]
    left_out: tuple[Origin, ...]


def cap_per_prompt(groups: Sequence[PromptGroup], limit: int, *, feedback: Feedback, seed: int) -> Capped:
    """Keep at most `limit` of what is learned from a prompt, over all its groups.

    Kept are those with the least hash(seed, origin, index), which does not depend on other rows. Prompts that differ
    in case, white space and the like are one prompt.

    Args:
        groups: As a method sees them (`groups_for`).
        limit: Most pairs of a prompt, completions (thumbs, demonstrations) or whole lists; at least 1.
        feedback: What the method learns from: says what is counted.
        seed: Another seed keeps others.
    Returns:
        The groups of which anything is left, in order.

    >>> from preftune.groups import Completion, Pair
    >>> answers = tuple(map(Completion, "abc"))
    >>> group = PromptGroup("?", answers, (Pair(0, 1), Pair(0, 2), Pair(1, 2)), Origin("doc", 1))
    >>> capped = cap_per_prompt([group], 1, feedback="pairs", seed=0)
    >>> len(capped.groups[0].pairs), len(capped.groups[0].completions), len(capped.left_out)
    (1, 2, 2)
    """
    assert limit >= 1, limit
    by_prompt: dict[str, list[_Unit]] = {}
    for index, group in enumerate(groups):
        own = by_prompt.setdefault(normalised_prompt(group.prompt), [])
        own.extend((index, unit) for unit in range(_num_units(group, feedback)))
    dropped: dict[int, set[int]] = {}
    for units in by_prompt.values():
        if len(units) > limit:
            for index, unit in sorted(units, key=lambda unit: _place(groups, unit, seed))[limit:]:
                dropped.setdefault(index, set()).add(unit)
    left_out = [groups[index].origin for index in sorted(dropped) for _ in dropped[index]]
    kept = (_without(group, dropped.get(index, ()), feedback) for index, group in enumerate(groups))
    return Capped([group for group in kept if group is not None], tuple(left_out))


def _num_units(group: PromptGroup, feedback: Feedback) -> int:
    match feedback:
        case "pairs":
            return len(group.pairs)
        case "lists":
            return 1
        case "thumbs" | "demonstrations":
            return len(group.completions)


def _without(group: PromptGroup, dropped: Collection[int], feedback: Feedback) -> PromptGroup | None:
    if not dropped:
        return group
    kept = [unit for unit in range(_num_units(group, feedback)) if unit not in dropped]
    if not kept:
        return None
    if feedback != "pairs":
        return only(group, kept)
    pairs = tuple(group.pairs[unit] for unit in kept)
    return only(replace(group, pairs=pairs), {index for pair in pairs for index in (pair.chosen, pair.rejected)})


def _place(groups: Sequence[PromptGroup], unit: _Unit, seed: int) -> bytes:
    index, number = unit
    return hashlib.blake2b(f"{seed}\n{groups[index].origin}\n{number}".encode(), digest_size=8).digest()
