"""Prompts as units of the data: their normal form, the held-out split, and the cap per prompt."""

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from unicodedata import normalize

from preftune.data.conversations import as_turns
from preftune.data.views import only
from preftune.errors import ConfigError, DataError
from preftune.groups import Origin, PromptGroup, Text
from preftune.losses import Feedback

_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
"""Soft hyphen, zero-width space, word joiner, byte order mark."""


def normalised_prompt(prompt: Text) -> str:
    r"""The normal form of a prompt: case folded, white space collapsed, NFKC, invisible characters removed.

    A single user turn has the normal form of its text, and a transcript `\n\nHuman: ... \n\nAssistant:` that of its
    turns, so a prompt is recognised in a data set of another format.

    >>> normalised_prompt("What  is\n2+2?")
    'what is 2+2?'
    >>> normalised_prompt("\n\nHuman: What is 2+2?\n\nAssistant:")
    'what is 2+2?'
    """
    texts = [(message.role, _normalised(message.content)) for message in as_turns(prompt)]
    if [role for role, _ in texts] == ["user"]:
        return texts[0][1]
    return "\n".join(f"{role}: {content}" for role, content in texts)


def _normalised(text: str) -> str:
    if not text.isascii():
        text = normalize("NFKC", text.translate(_INVISIBLE))
        text = normalize("NFKC", text.casefold())  # case folding may undo the normal form
    return " ".join(text.split()).casefold()


def split_by_prompt(
    groups: Sequence[PromptGroup], fraction: float, *, seed: int
) -> tuple[list[PromptGroup], list[PromptGroup]]:
    """Hold out a fraction of the prompts, with all their groups.

    Of n distinct prompts, the k with the smallest hash(seed, normalised prompt) are held out, where k is fraction * n
    rounded to the nearest, at least 1 and at most n - 1. Order and number of rows make no difference, so files with the
    same prompts hold out the same ones, as for SFT and then DPO. Of files with other prompts beside them, a common
    prompt is on the same side unless its hash lies between the two limits, which are close together for many prompts.

    Args:
        fraction: Fraction of the distinct prompts to hold out, in (0, 1).
    Returns:
        The groups to train on and the held-out groups, each in the given order.
    Raises:
        ConfigError: a fraction out of its range.
        DataError: fewer than two distinct prompts.

    >>> from preftune.groups import Completion, Origin
    >>> groups = [PromptGroup(text, (Completion("4"),), (), Origin("sums", 1)) for text in ("2+2=", "2+2= ", "1+3=")]
    >>> train, held_out = split_by_prompt(groups, 0.5, seed=0)
    >>> sorted(len(side) for side in (train, held_out))  # the first two are one prompt
    [1, 2]
    """
    if not 0 < fraction < 1:
        raise ConfigError([f"fraction = {fraction}: must lie between 0 and 1, such as 0.05."])
    prompts = [normalised_prompt(group.prompt) for group in groups]
    places = {prompt: _hash(seed, prompt) for prompt in prompts}
    if len(places) < 2:
        raise DataError(
            f"the data have {len(places)} distinct prompt(s), so none can be held out: the rest would be empty. "
            "Give more prompts, or name a separate file for evaluation."
        )
    ranked = sorted(places, key=lambda prompt: (places[prompt], prompt))
    wanted = math.floor(fraction * len(ranked) + 0.5)
    held = set(ranked[: min(max(wanted, 1), len(ranked) - 1)])
    train = [group for group, prompt in zip(groups, prompts, strict=True) if prompt not in held]
    held_out = [group for group, prompt in zip(groups, prompts, strict=True) if prompt in held]
    return train, held_out


def _hash(seed: int, *parts: object) -> int:
    """A 64-bit hash that is the same in every process."""
    text = "\n".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


_Unit = tuple[int, int]
"""Index of a group, and of the pair or completion within it."""


@dataclass(frozen=True, slots=True)
class Capped:
    """Capped groups, and the origin of each pair, completion or list left out."""

    groups: list[PromptGroup]
    left_out: tuple[Origin, ...]


def cap_per_prompt(groups: Sequence[PromptGroup], limit: int, *, feedback: Feedback, seed: int) -> Capped:
    """Keep at most `limit` pairs, completions or lists of a prompt, over all its groups.

    Those with the smallest hash(seed, origin, index) are kept, so the choice does not depend on other rows. Prompts
    with the same normal form are one prompt.

    Args:
        limit: Most pairs, completions (thumbs, demonstrations) or lists of a prompt; at least 1.

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
            for index, unit in sorted(units, key=lambda unit: _hash(seed, groups[unit[0]].origin, unit[1]))[limit:]:
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
