"""A group with what several checks need to know of it, worked out once."""

from collections.abc import Sequence
from dataclasses import dataclass

from preftune.data.prompts import normalised_prompt
from preftune.data.quality.comparisons import Judged, judged
from preftune.data.quality.keys import key_of, mixed_key
from preftune.data.quality.texts import num_words, plain_text, shortened
from preftune.groups import PromptGroup

__all__ = ["GroupFacts", "TokenCounts", "excerpt", "facts_of"]


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Lengths of a group in tokens.

    Args:
        prompt: Of the prompt.
        completions: Of each completion, without the prompt.
    """

    prompt: int
    completions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A group and what follows from it.

    Args:
        group: The group.
        place: Number of its origin.
        prompt: The prompt without differences that make no other prompt; see `normalised_prompt`.
        texts: Of each completion its plain text.
        words: Of each completion its words, in one case.
        lengths: Of each completion its number of words; see `num_words`.
        prompt_key: Key of `prompt`.
        keys: Of each completion the key of its words.
        row_key: Key of all that a duplicate repeats: prompt, completions, which is better, thumbs.
        judged: Which completion is better than which.
        tokens: Lengths in tokens, where there is a tokenizer.
    """

    group: PromptGroup
    place: int
    prompt: str
    texts: tuple[str, ...]
    words: tuple[Sequence[str], ...]
    lengths: tuple[int, ...]
    prompt_key: int
    keys: tuple[int, ...]
    row_key: int
    judged: Judged
    tokens: TokenCounts | None


def facts_of(group: PromptGroup, place: int, tokens: TokenCounts | None = None) -> GroupFacts:
    """The facts of one group.

    >>> from preftune.groups import Completion, Origin
    >>> facts_of(PromptGroup("2 + 2 =", (Completion("It is 4"),), (), Origin("sums.jsonl", 1)), place=1).lengths
    (3,)
    """
    prompt = normalised_prompt(group.prompt)
    texts = tuple(plain_text(completion.content) for completion in group.completions)
    words = tuple(text.casefold().split() for text in texts)
    keys = tuple(key_of(" ".join(own)) for own in words)
    prompt_key, found = key_of(prompt), judged(group)
    return GroupFacts(
        group=group,
        place=place,
        prompt=prompt,
        texts=texts,
        words=words,
        lengths=tuple(map(num_words, texts)),
        prompt_key=prompt_key,
        keys=keys,
        row_key=_row_key(group, prompt_key, keys, found),
        judged=found,
        tokens=tokens,
    )


def _row_key(group: PromptGroup, prompt_key: int, keys: tuple[int, ...], found: Judged) -> int:
    """Whatever the order of the completions."""
    thumbs = sorted(
        (key, 2 if completion.desirable is None else int(completion.desirable))
        for key, completion in zip(keys, group.completions, strict=True)
    )
    better = sorted((keys[pair.chosen], keys[pair.rejected]) for pair in found.comparisons)
    return mixed_key(prompt_key, *(part for item in (*thumbs, *better) for part in item))


def excerpt(group: PromptGroup, length: int = 80) -> str:
    r"""The end of the prompt and the beginnings of what is judged, a line each.

    >>> from preftune.groups import Completion, Origin, Pair
    >>> excerpt(PromptGroup("2+2=", (Completion("4"), Completion("5")), (Pair(0, 1),), Origin("sums.jsonl", 1)))
    '2+2=\nchosen: 4\nrejected: 5'
    """
    prompt = " ".join(plain_text(group.prompt).split())
    parts = [shortened(prompt if len(prompt) <= length else "…" + prompt[-length:].lstrip(), length + 1)]
    found = judged(group)
    if found.comparisons:
        pair = found.comparisons[0]
        shown = {"chosen": pair.chosen, "rejected": pair.rejected}
    else:
        shown = {"completion": 0}
    for name, index in shown.items():
        parts.append(f"{name}: {shortened(plain_text(group.completions[index].content), length)}")
    return "\n".join(parts)
