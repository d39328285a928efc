"""Mismatched completions: each after the prompt of another, to estimate the KL divergence of policy and reference."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

from preftune.data.tokens.token_group import TokenGroup, TokenIds
from preftune.errors import DataError


def with_mismatched(
    groups: Sequence[TokenGroup], *, max_length: int | None, within_prompt: bool = False
) -> list[TokenGroup]:
    """Add to each group as many completions of other prompts as it has of its own.

    KTO compares a completion's reward with the mean reward of such mismatched ones: an estimate of
    KL(policy || reference).

    The completions are sorted by prompt, in the order of the data, and shifted by the number of completions of the
    prompt that has most. So each is used once, and none after its own prompt. Only if a prompt has more than half of
    all completions are those of the others used several times.

    Args:
        groups: Groups of at least two different prompts.
        max_length: Most tokens of a prompt and a completion; completions are cut at their end.
        within_prompt: If all groups have one prompt, each completion is matched with the next one, as TRL does. If
            false, that is an error.
    Raises:
        DataError: all completions answer one prompt.
    Source: Ethayarajh et al. 2024 (KTO), arXiv:2402.01306, Sec. 4.1.
    Differs: the authors' code shifts completions by one within each micro-batch and epoch. Here the match
        depends on the data set alone. So a micro-batch of one completion has its estimate, no completion meets its own
        prompt because two rows share it, the numbers do not change with the memory budget or the number of GPUs, and
        the reference log-probs of mismatched completions are computed once and kept like all others.

    >>> import numpy as np
    >>> from preftune.groups import Origin
    >>> ids = lambda *values: np.array(values, dtype=np.int32)
    >>> groups = [TokenGroup(ids(row), (ids(row, row),), (), Origin("doc", row)) for row in (1, 2, 3)]
    >>> [group.mismatched[0].tolist() for group in with_mismatched(groups, max_length=2)]
    [[2], [3], [1]]
    """
    blocks = _indices_by_prompt(groups)
    if len(blocks) < 2 and within_prompt and sum(len(group.completions) for group in groups) > 1:
        blocks = [[index] for index in range(len(groups))]
    if len(blocks) < 2:
        raise DataError(
            f"{groups[0].origin}: all completions answer the same prompt, and this method compares them with "
            "completions of other prompts. Give data with several prompts, or use another method."
        )
    completions = [ids for block in blocks for index in block for ids in groups[index].completions]
    sizes = [sum(len(groups[index].completions) for index in block) for block in blocks]
    partners = (completions[place] for place in partner_places(sizes))
    matched = {index: tuple(islice(partners, len(groups[index].completions))) for block in blocks for index in block}
    return [replace(group, mismatched=_cut(group, matched[index], max_length)) for index, group in enumerate(groups)]


def partner_places(sizes: Sequence[int]) -> Iterator[int]:
    """For each item of consecutive blocks, the index of an item of another block.

    Args:
        sizes: Sizes of at least two blocks.
    Returns:
        An index for each item. If no block is larger than all others together, it is a cyclic shift of all items.

    >>> list(partner_places([1, 2, 1])), list(partner_places([3, 1]))
    ([2, 3, 0, 1], [3, 3, 3, 2])
    """
    total, shift, start = sum(sizes), max(sizes), 0
    for size in sizes:
        for place in range(size):
            behind_block = (place + shift - size) % (total - size)
            yield (start + size + behind_block) % total
        start += size


def _indices_by_prompt(groups: Sequence[TokenGroup]) -> list[list[int]]:
    found: dict[bytes, list[int]] = {}
    for index, group in enumerate(groups):
        found.setdefault(group.prompt.tobytes(), []).append(index)
    return list(found.values())


def _cut(group: TokenGroup, completions: Sequence[TokenIds], max_length: int | None) -> tuple[TokenIds, ...]:
    if max_length is None:
        return tuple(completions)
    room = max_length - len(group.prompt)
    assert room > 0, f"{group.origin}: the prompt alone is as long as max_length"
    return tuple(ids[:room] for ids in completions)
