"""A group with the facts that several checks need, computed once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Literal

from preftune.data.prompts import normalised_prompt
from preftune.data.quality.keys import key_of, mixed_key
from preftune.data.quality.texts import num_words, plain_text, shortened
from preftune.groups import Completion, Pair, PromptGroup

Side = Literal["chosen", "rejected"]

_MOST_IN_ALL_PAIRS = 8
_LARGEST_GAP = 1e100


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Lengths of a group in tokens.

    Args:
        prompt: Length of the prompt.
        completions: Length of each completion, without the prompt.
        hidden: What the chat template does not show of the messages, in words that follow a number.
    """

    prompt: int
    completions: tuple[int, ...]
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A group and what follows from it.

    Args:
        group: The group.
        place: Number of its origin, see `Places`.
        prompt: The prompt as `normalised_prompt` returns it.
        texts: Plain text of each completion.
        words: Casefolded words of each completion.
        lengths: Number of words of each completion; see `num_words`.
        prompt_key: Key of `prompt`.
        keys: Key of the words of each completion.
        row_key: Key of all that a duplicate repeats: prompt, completions, preferences, thumbs.
        pairs: See `pairs_of`.
        num_ties: Number of pairs of completions with equal scores, in data without pairs.
        tokens: Lengths in tokens; None without a tokenizer.
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
    pairs: tuple[Pair, ...]
    num_ties: int
    tokens: TokenCounts | None

    def sides(self) -> Iterator[tuple[Side, int]]:
        """Side and index of each completion, once for each pair it is in and once for its thumb.

        Desirable completions count as chosen, undesirable ones as rejected.
        """
        for pair in self.pairs:
            yield "chosen", pair.chosen
            yield "rejected", pair.rejected
        for index, completion in enumerate(self.group.completions):
            if completion.desirable is not None:
                yield ("chosen" if completion.desirable else "rejected"), index


def facts_of(group: PromptGroup, place: int, tokens: TokenCounts | None = None) -> GroupFacts:
    """Facts of one group.

    >>> from preftune.groups import Origin
    >>> facts_of(PromptGroup("2 + 2 =", (Completion("It is 4"),), (), Origin("sums.jsonl", 1)), place=1).lengths
    (3,)
    """
    prompt = normalised_prompt(group.prompt)
    texts = tuple(plain_text(completion.content) for completion in group.completions)
    words = tuple(text.casefold().split() for text in texts)
    keys = tuple(key_of(" ".join(own)) for own in words)
    prompt_key, (pairs, num_ties) = key_of(prompt), pairs_of(group)
    return GroupFacts(
        group=group,
        place=place,
        prompt=prompt,
        texts=texts,
        words=words,
        lengths=tuple(map(num_words, texts)),
        prompt_key=prompt_key,
        keys=keys,
        row_key=_row_key(group, prompt_key, keys, pairs),
        pairs=pairs,
        num_ties=num_ties,
        tokens=tokens,
    )


def pairs_of(group: PromptGroup) -> tuple[tuple[Pair, ...], int]:
    """Pairs of a group, and the number of ties: the pairs of the data or, without any, those that scores give.

    Differs from `data.pairing.pairs_by_score`: equal completions with different scores make a pair too, which the
    check `identical` then reports. Of up to 8 scored completions all pairs count. Of more, each with the next in the
    order of scores, and the best with the worst, so that the work grows with their number and not with its square.

    Returns:
        Pairs with their margins, at most 1e100 in size. A margin is None if the data give none, and not above 0 if
        the rejected completion has a score as high or higher.

    >>> from preftune.groups import Origin
    >>> scored = tuple(Completion(text, score) for text, score in [("5", 1.0), ("4", 3.0), ("four", 3.0)])
    >>> pairs_of(PromptGroup("2+2=", scored, (), Origin("sums.jsonl", 1)))
    ((Pair(chosen=1, rejected=0, margin=2.0), Pair(chosen=2, rejected=0, margin=2.0)), 1)
    """
    if group.pairs:
        return tuple(_with_margin(pair, group.completions) for pair in group.pairs), 0
    scores = {index: item.score for index, item in enumerate(group.completions) if item.score is not None}
    ranked = sorted(scores, key=lambda index: -scores[index])
    gaps = [(better, worse, _gap(scores[better], scores[worse])) for better, worse in _compared(ranked)]
    pairs = tuple(Pair(better, worse, gap) for better, worse, gap in gaps if gap)
    return pairs, len(gaps) - len(pairs)


def _with_margin(pair: Pair, completions: Sequence[Completion]) -> Pair:
    better, worse = (completions[index].score for index in (pair.chosen, pair.rejected))
    if pair.margin is not None:
        better, worse = pair.margin, 0.0
    return Pair(pair.chosen, pair.rejected, None if better is None or worse is None else _gap(better, worse))


def _gap(better: float, worse: float) -> float:
    """The difference, bounded so that it is finite and can be averaged."""
    return min(max(better - worse, -_LARGEST_GAP), _LARGEST_GAP)


def _compared(ranked: Sequence[int]) -> Iterator[tuple[int, int]]:
    if len(ranked) <= _MOST_IN_ALL_PAIRS:
        yield from combinations(ranked, 2)
        return
    yield from pairwise(ranked)
    yield ranked[0], ranked[-1]


def _row_key(group: PromptGroup, prompt_key: int, keys: tuple[int, ...], pairs: Sequence[Pair]) -> int:
    """Independent of the order of the completions."""
    thumbs = sorted(
        (key, 2 if completion.desirable is None else int(completion.desirable))
        for key, completion in zip(keys, group.completions, strict=True)
    )
    better = sorted((keys[pair.chosen], keys[pair.rejected]) for pair in pairs)
    return mixed_key(prompt_key, *(part for item in (*thumbs, *better) for part in item))


def excerpt(group: PromptGroup, length: int = 80) -> str:
    r"""The end of the prompt and the beginnings of the completions of its first pair, one per line.

    >>> from preftune.groups import Origin
    >>> excerpt(PromptGroup("2+2=", (Completion("4"), Completion("5")), (Pair(0, 1),), Origin("sums.jsonl", 1)))
    '2+2=\nchosen: 4\nrejected: 5'
    """
    prompt = " ".join(plain_text(group.prompt).split())
    lines = [shortened(prompt if len(prompt) <= length else "…" + prompt[-length:].lstrip(), length + 1)]
    pairs, _ = pairs_of(group)
    shown = {"chosen": pairs[0].chosen, "rejected": pairs[0].rejected} if pairs else {"completion": 0}
    for name, index in shown.items():
        lines.append(f"{name}: {shortened(plain_text(group.completions[index].content), length)}")
    return "\n".join(lines)
