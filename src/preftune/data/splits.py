"""Training and held-out groups that share no prompt."""

import hashlib
from collections.abc import Sequence

from preftune.data.normalised import normalised_prompt
from preftune.errors import ConfigError, DataError
from preftune.groups import PromptGroup

__all__ = ["split_by_prompt"]


def split_by_prompt(
    groups: Sequence[PromptGroup], fraction: float, *, seed: int
) -> tuple[list[PromptGroup], list[PromptGroup]]:
    """Hold out a part of the prompts, with all their groups.

    A prompt is held out if hash(seed, normalised prompt) / 2^64 < fraction. So its side does not depend on the other
    rows, their order or the file that they are in: a prompt that is held out of SFT is held out of DPO on another file
    with the same seed, and stays so when the data grow. If that leaves a side empty, the prompt with the hash next to
    the limit changes sides.

    Args:
        groups: What to split.
        fraction: Part of the distinct prompts to hold out, in (0, 1). Met on average over prompts.
        seed: Another seed holds out other prompts.
    Returns:
        The groups to train on and the groups held out, each in the order given.
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
    places = {prompt: _place(prompt, seed) for prompt in prompts}
    if len(places) < 2:
        raise DataError(
            f"the data have {len(places)} distinct prompt(s), so none can be held out: the rest would be empty. "
            "Give more prompts, or name a file of its own for evaluation."
        )
    ranked = sorted(places, key=lambda prompt: (places[prompt], prompt))
    num_below = sum(place < fraction for place in places.values())
    held = set(ranked[: min(max(num_below, 1), len(ranked) - 1)])
    train = [group for group, prompt in zip(groups, prompts, strict=True) if prompt not in held]
    held_out = [group for group, prompt in zip(groups, prompts, strict=True) if prompt in held]
    return train, held_out


def _place(prompt: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed}\n{prompt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
