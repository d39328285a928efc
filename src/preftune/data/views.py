"""Views of a prompt group: pairs, thumbs, lists and demonstrations, for the methods that learn from each."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from typing import Literal

from preftune.groups import Completion, Pair, PromptGroup

Lost = Literal["tied", "under_gap", "equal", "unpaired", "ambiguous", "unmarked", "undesirable", "weightless"]
"""Reason why feedback was not used; `LOST` has the texts."""

LOST: Mapping[Lost, str] = {
    "tied": "pairs have equal scores",
    "under_gap": "pairs have scores closer than --min-score-gap",
    "equal": "pairs are of one completion with two scores",
    "unpaired": "prompts have nothing to compare",
    "ambiguous": "completions are both chosen and rejected",
    "unmarked": "completions have no thumbs, unlike others of their prompt",
    "undesirable": "completions are marked as undesirable",
    "weightless": "pairs or completions have weight 0",
}
"""Reasons as text after a number."""


@dataclass(frozen=True, slots=True)
class View:
    """A prompt group reduced to the feedback that a method learns from.

    Args:
        group: The group, or None if nothing in it can be learned from.
        lost: Number of unusable pairs or completions, by reason.
    """

    group: PromptGroup | None
    lost: Mapping[Lost, int] = field(default_factory=dict, hash=False)


def only(group: PromptGroup, kept: Collection[int]) -> PromptGroup:
    """The group with the completions at the indices `kept`, in their order, and the pairs among them.

    >>> from preftune.groups import Completion, Origin, Pair
    >>> group = PromptGroup("?", tuple(map(Completion, "abc")), (Pair(2, 0), Pair(1, 0)), Origin("doc", 1))
    >>> only(group, [0, 2]).pairs
    (Pair(chosen=1, rejected=0, margin=None),)
    """
    if len(kept) == len(group.completions):
        return group
    places = {index: place for place, index in enumerate(sorted(kept))}
    pairs = tuple(
        replace(pair, chosen=places[pair.chosen], rejected=places[pair.rejected])
        for pair in group.pairs
        if pair.chosen in places and pair.rejected in places
    )
    return replace(group, completions=tuple(group.completions[index] for index in places), pairs=pairs)


def scores_of(group: PromptGroup) -> tuple[float, ...] | None:
    """The score of each completion, or None unless all have one."""
    scores = tuple(completion.score for completion in group.completions if completion.score is not None)
    return scores if len(scores) == len(group.completions) else None


ScoreRule = Literal["all", "best_vs_worst", "adjacent"]
"""All pairs of completions, the best and the worst, or neighbours in the order of scores."""

Pairing = Literal["given", "all", "best_vs_worst", "adjacent"]
"""Source of pairs: the data, or scores by a rule."""


@dataclass(frozen=True, slots=True)
class Paired:
    """Pairs made from scores, and counts of the pairs left out.

    Args:
        pairs: The margin of each is the difference of the scores.
    """

    pairs: tuple[Pair, ...]
    num_tied: int = 0
    num_under_gap: int = 0
    num_equal: int = 0


def pairs_by_score(
    completions: Sequence[Completion], scores: Sequence[float], rule: ScoreRule, *, min_score_gap: float = 0.0
) -> Paired:
    """Pairs of completions with different scores.

    Args:
        completions, scores: One score for each completion; higher is better.
        rule: Completions to compare. Completions of equal score keep their order.
        min_score_gap: Least difference of the scores of a pair, >= 0. Equal scores never make a pair.

    >>> answers = [Completion("five"), Completion("four"), Completion("4")]
    >>> pairs_by_score(answers, [1.0, 2.0, 4.0], "best_vs_worst").pairs
    (Pair(chosen=2, rejected=0, margin=3.0),)
    >>> found = pairs_by_score(answers, [1.0, 2.0, 4.0], "adjacent", min_score_gap=1.5)
    >>> found.pairs, found.num_under_gap
    ((Pair(chosen=2, rejected=1, margin=2.0),), 1)
    """
    ranked = sorted(range(len(scores)), key=lambda index: -scores[index])
    pairs: list[Pair] = []
    tied = under_gap = equal = 0
    for better, worse in _compared(ranked, rule):
        gap = scores[better] - scores[worse]
        if gap == 0:
            tied += 1
        elif completions[better].content == completions[worse].content:
            equal += 1
        elif gap < min_score_gap:
            under_gap += 1
        else:
            pairs.append(Pair(better, worse, gap))
    return Paired(tuple(pairs), tied, under_gap, equal)


def _compared(ranked: Sequence[int], rule: ScoreRule) -> Iterator[tuple[int, int]]:
    match rule:
        case "all":
            yield from combinations(ranked, 2)
        case "adjacent":
            yield from pairwise(ranked)
        case "best_vs_worst":
            if len(ranked) > 1:
                yield ranked[0], ranked[-1]


@dataclass(frozen=True, slots=True)
class PairRule:
    """The source of the pairs of a group.

    Args:
        pairing: Pairs of the data, or pairs made from scores by a rule. Default: the pairs of a group if it has any,
            otherwise all pairs of different scores.
        min_score_gap: Least difference of two scores that make a pair. Pairs of the data are kept as they are.
    """

    pairing: Pairing | None = None
    min_score_gap: float = 0.0

    def score_rule(self, group: PromptGroup) -> ScoreRule | None:
        """The rule that makes pairs of the group's scores; None if its own pairs are used."""
        if self.pairing is None:
            return None if group.pairs else "all"
        return None if self.pairing == "given" else self.pairing

    def fits(self, group: PromptGroup) -> bool:
        """True if the group has what the rule needs: pairs, or a score for each completion."""
        return bool(group.pairs) if self.score_rule(group) is None else scores_of(group) is not None

    def view(self, group: PromptGroup) -> View:
        """The group with its pairs and the completions in them. The rule must fit the group."""
        rule = self.score_rule(group)
        if rule is None:
            return View(_paired(group))
        scores = scores_of(group)
        assert scores is not None, f"{group.origin}: has no scores, so the rule does not fit"
        found = pairs_by_score(group.completions, scores, rule, min_score_gap=self.min_score_gap)
        lost = View(None, {"tied": found.num_tied, "under_gap": found.num_under_gap, "equal": found.num_equal})
        if not found.pairs:
            return replace(lost, lost={**lost.lost, "unpaired": 1})
        return replace(lost, group=_paired(replace(group, pairs=found.pairs)))


def has_margins(group: PromptGroup) -> bool:
    """True if the margin of every pair is known, from the data or from scores."""
    return all(_margin(group, pair) is not None for pair in group.pairs)


def with_margins(group: PromptGroup) -> PromptGroup:
    """The group with a margin for each pair: that of the data, otherwise the difference of the scores, if known.

    >>> from preftune.groups import Completion, Origin
    >>> answers = (Completion("4", score=5.0), Completion("5", score=1.0))
    >>> with_margins(PromptGroup("2+2=", answers, (Pair(0, 1),), Origin("sums.jsonl", 1))).pairs
    (Pair(chosen=0, rejected=1, margin=4.0),)
    """
    return replace(group, pairs=tuple(replace(pair, margin=_margin(group, pair)) for pair in group.pairs))


def _margin(group: PromptGroup, pair: Pair) -> float | None:
    chosen, rejected = group.completions[pair.chosen].score, group.completions[pair.rejected].score
    if pair.margin is None and chosen is not None and rejected is not None:
        return chosen - rejected
    return pair.margin


def _paired(group: PromptGroup) -> PromptGroup:
    return only(group, {index for pair in group.pairs for index in (pair.chosen, pair.rejected)})


def has_thumbs(group: PromptGroup) -> bool:
    """True if any completion is marked as desirable or undesirable."""
    return any(completion.desirable is not None for completion in group.completions)


def thumb_view(group: PromptGroup, rule: PairRule) -> View:
    """The group with its marked completions and without pairs.

    If the data mark none, the chosen completion of a pair is desirable and the rejected one undesirable; a completion
    that is both is left out.

    Args:
        group: A group with marks, or one that `rule` fits.

    >>> from preftune.groups import Completion, Origin, Pair
    >>> group = PromptGroup("?", tuple(map(Completion, "abc")), (Pair(0, 1), Pair(1, 2)), Origin("doc", 1))
    >>> view = thumb_view(group, PairRule())
    >>> [(completion.content, completion.desirable) for completion in view.group.completions], view.lost["ambiguous"]
    ([('a', True), ('c', False)], 1)
    """
    if has_thumbs(group):
        return _marked_view(group)
    paired = rule.view(group)
    if paired.group is None:
        return paired
    marked, num_ambiguous = _marked_by_pairs(paired.group)
    return replace(_marked_view(marked), lost={**paired.lost, "ambiguous": num_ambiguous})


def _marked_view(group: PromptGroup) -> View:
    marked = [index for index, completion in enumerate(group.completions) if completion.desirable is not None]
    view = replace(only(group, marked), pairs=()) if marked else None
    return View(view, {"unmarked": len(group.completions) - len(marked)})


def _marked_by_pairs(group: PromptGroup) -> tuple[PromptGroup, int]:
    """The group with marks, and the number of completions that are both chosen and rejected and stay unmarked."""
    chosen, rejected = {pair.chosen for pair in group.pairs}, {pair.rejected for pair in group.pairs}
    completions = tuple(
        completion if index in chosen & rejected else replace(completion, desirable=index in chosen)
        for index, completion in enumerate(group.completions)
    )
    return replace(group, completions=completions), len(chosen & rejected)


def has_order(group: PromptGroup) -> bool:
    """True if each completion has a score, or there are two completions and one pair."""
    num_pairs = len({(pair.chosen, pair.rejected) for pair in group.pairs})
    return scores_of(group) is not None or (len(group.completions) == 2 and num_pairs == 1)


def list_view(group: PromptGroup) -> View:
    """The group with a score for each completion, and all pairs that the scores make, for metrics.

    Two completions with a pair and no scores get the scores 1 and 0. A single completion gives no list.

    Args:
        group: A group for which `has_order` is true.

    >>> from preftune.groups import Completion, Origin, Pair
    >>> group = PromptGroup("2+2=", (Completion("5"), Completion("4")), (Pair(1, 0),), Origin("sums.jsonl", 1))
    >>> [completion.score for completion in list_view(group).group.completions]
    [0.0, 1.0]
    """
    if len(group.completions) < 2:
        return View(None, {"unpaired": 1})
    scores = scores_of(group)
    if scores is None:
        scores = tuple(float(index == group.pairs[0].chosen) for index in range(2))
    completions = tuple(
        replace(completion, score=score) for completion, score in zip(group.completions, scores, strict=True)
    )
    return View(replace(group, completions=completions, pairs=pairs_by_score(completions, scores, "all").pairs))


def demonstration_view(group: PromptGroup) -> View:
    """The group with the completions to imitate, and without pairs.

    These are the chosen completions of its pairs; without pairs, all that are not undesirable, or the best of those if
    all have scores.

    >>> from preftune.groups import Completion, Origin, Pair
    >>> group = PromptGroup("2+2=", (Completion("5"), Completion("4")), (Pair(1, 0),), Origin("sums.jsonl", 1))
    >>> [completion.content for completion in demonstration_view(group).group.completions]
    ['4']
    """
    kept = _worth_imitating(group)
    num_undesirable = sum(completion.desirable is False for completion in group.completions)
    lost: dict[Lost, int] = {"undesirable": num_undesirable} if num_undesirable and not group.pairs else {}
    return View(replace(only(group, kept), pairs=()) if kept else None, lost)


def _worth_imitating(group: PromptGroup) -> set[int]:
    if group.pairs:
        return {pair.chosen for pair in group.pairs}
    wanted = {index for index, completion in enumerate(group.completions) if completion.desirable is not False}
    scores = scores_of(only(group, wanted)) if wanted else None
    if scores is None:
        return wanted
    return {index for index in wanted if group.completions[index].score == max(scores)}


def without_weightless(view: View, *, by_pairs: bool) -> View:
    """The view without pairs, or completions, of weight 0. A step of nothing else would have no mean.

    >>> from preftune.groups import Origin
    >>> group = PromptGroup("2+2=", (Completion("4"), Completion("5", weight=0.0)), (), Origin("sums.jsonl", 1))
    >>> found = without_weightless(View(group), by_pairs=False)
    >>> len(found.group.completions), found.lost
    (1, {'weightless': 1})
    """
    group = view.group
    assert group is not None, "an empty view has no weights"
    if by_pairs:
        pairs = tuple(pair for pair in group.pairs if group.weight_of(pair.chosen, pair.rejected))
        num_lost, kept = len(group.pairs) - len(pairs), {i for pair in pairs for i in (pair.chosen, pair.rejected)}
        group = replace(group, pairs=pairs)
    else:
        kept = {index for index in range(len(group.completions)) if group.weight_of(index)}
        num_lost = len(group.completions) - len(kept)
    return View(only(group, kept) if kept else None, {**view.lost, "weightless": num_lost})


def best_answer(group: PromptGroup) -> str | None:
    """The best completion as text: by score, by pairs, or the first that is not undesirable; None if there is none.

    >>> from preftune.groups import Origin, Pair
    >>> best_answer(PromptGroup("2+2=", (Completion("5"), Completion("4")), (Pair(1, 0),), Origin("sums.jsonl", 1)))
    '4'
    """
    scores = scores_of(group)
    if scores is not None:
        return _text(group.completions[scores.index(max(scores))])
    view = demonstration_view(group)
    return None if view.group is None else _text(view.group.completions[0])


def _text(completion: Completion) -> str:
    """The content of the completion, without roles."""
    if isinstance(completion.content, str):
        return completion.content
    return "\n".join(message.content for message in completion.content if message.content)
