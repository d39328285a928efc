"""Which completions of a group are better than which: as the data say, or by their scores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from preftune.groups import Completion, PromptGroup

__all__ = ["Comparison", "Judged", "judged"]

_MOST_IN_ALL_PAIRS = 8
_LARGEST_GAP = 1e100


@dataclass(frozen=True, slots=True)
class Comparison:
    """A better and a worse completion.

    Args:
        chosen, rejected: Indices into the group's completions.
        margin: How much better, on the data's own scale; None where that is not known. Not above 0 where the data
            contradict themselves: the rejected completion has a score as high or higher.
    """

    chosen: int
    rejected: int
    margin: float | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What a group says about which completion is better.

    Args:
        comparisons: The pairs of the data; where there are none, those of different scores.
        ties: Pairs of completions that have equal scores, where the data give no pairs.
        is_given: Whether the comparisons are pairs of the data.
    """

    comparisons: tuple[Comparison, ...]
    ties: tuple[tuple[int, int], ...]
    is_given: bool


def judged(group: PromptGroup) -> Judged:
    """What a group says about which completion is better.

    Of up to 8 scored completions all pairs count; of more, each and the next in the order of scores, and the best and
    the worst, so that the work grows with their number and not with its square.

    >>> from preftune.groups import Origin
    >>> scored = tuple(Completion(text, score) for text, score in [("5", 1.0), ("4", 3.0), ("four", 3.0)])
    >>> found = judged(PromptGroup("2+2=", scored, (), Origin("sums.jsonl", 1)))
    >>> [(pair.chosen, pair.rejected, pair.margin) for pair in found.comparisons], found.ties
    ([(1, 0, 2.0), (2, 0, 2.0)], ((1, 2),))
    """
    completions = group.completions
    if group.pairs:
        return Judged(tuple(_given(group)), (), is_given=True)
    scored = [index for index, completion in enumerate(completions) if completion.score is not None]
    ranked = sorted(scored, key=lambda index: -_score(completions, index))
    comparisons, ties = [], []
    for better, worse in _compared(ranked):
        gap = _gap(_score(completions, better), _score(completions, worse))
        if gap == 0:
            ties.append((better, worse))
        else:
            comparisons.append(Comparison(better, worse, gap))
    return Judged(tuple(comparisons), tuple(ties), is_given=False)


def _given(group: PromptGroup) -> Iterator[Comparison]:
    for pair in group.pairs:
        scores = [group.completions[index].score for index in (pair.chosen, pair.rejected)]
        known = [score for score in scores if score is not None]
        gap = _gap(*known) if len(known) == 2 else None
        yield Comparison(pair.chosen, pair.rejected, gap if pair.margin is None else _gap(pair.margin, 0.0))


def _gap(better: float, worse: float) -> float:
    """The difference, bounded so that it is a finite number that can be reckoned with."""
    return min(max(better - worse, -_LARGEST_GAP), _LARGEST_GAP)


def _compared(ranked: Sequence[int]) -> Iterator[tuple[int, int]]:
    if len(ranked) <= _MOST_IN_ALL_PAIRS:
        yield from combinations(ranked, 2)
        return
    yield from pairwise(ranked)
    yield ranked[0], ranked[-1]


def _score(completions: Sequence[Completion], index: int) -> float:
    score = completions[index].score
    assert score is not None, "only completions with a score are ranked"
    return score
