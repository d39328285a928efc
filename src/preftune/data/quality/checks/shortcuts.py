"""Checks for shortcuts: does length alone, or the choice of words, tell chosen from rejected?"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from preftune.data.quality.check import Check, CheckRule, CheckSettings, Draft
from preftune.data.quality.classifier import Accuracy, ClassifierData, Scorer, cross_validated, fit_linear
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.keys import Sample, mixed_key
from preftune.findings import Severity

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_FEWEST = 50
_LENGTH_SAMPLE, _NUM_LENGTH_BINS = 50_000, 10
_LENGTH_WARNING, _LENGTH_ERROR = 0.6, 0.8

_LONGER = CheckRule(
    title="Chosen completions longer than the rejected one: {percent:.0f} %{accuracy}",
    unit="pairs",
    reason="Whatever length explains is learned first: the model learns to write longer or shorter, not better.",
    advice="Balance the data with `preftune clean {remedy}`, or train with a method that removes length from the "
    "reward: dpo_length_normalized, rdpo_length, ld_dpo. Watch the lengths of the model's samples.",
    remedy="--balance-length",
)
_MEDIANS = replace(
    _LONGER,
    title="Words in the median: {up:,.0f} of desirable completions, {down:,.0f} of undesirable ones{accuracy}",
    unit="completions",
)


@final
class LengthBias(Check):
    """Share of pairs with the longer completion chosen, and how well length alone tells chosen from rejected.

    The share is of all pairs, in words. The accuracy is that of the best classifier on lengths alone (longer wins,
    shorter wins, or any preference for any length), on prompts it did not see, with at most 50,000 distinct pairs;
    guessing gives a half. Severity: a warning if the accuracy, or the share on either side, is 60 % or more and the
    interval of the accuracy lies above a half; an error from 80 %: then length explains most of the labels, and that is
    what a model learns first. Fewer than 50 pairs of distinct rows give no accuracy.
    """

    name = "length-bias"
    about = "labels that length gives away"
    blames_rows = False

    def __init__(self, settings: CheckSettings) -> None:
        self._counts = dict.fromkeys(("longer", "shorter", "equal"), 0)
        self._sample = Sample[tuple[int, int, int]](_LENGTH_SAMPLE, seed=settings.seed)
        self._thumbs = Sample[tuple[int, int, bool]](_LENGTH_SAMPLE, seed=settings.seed)

    def add(self, facts: GroupFacts) -> None:
        for number, pair in enumerate(facts.pairs):
            chosen, rejected = facts.lengths[pair.chosen], facts.lengths[pair.rejected]
            self._counts["longer" if chosen > rejected else "shorter" if chosen < rejected else "equal"] += 1
            key = mixed_key(facts.row_key, number)
            if self._sample.wants(key):
                self._sample.add(key, (facts.prompt_key, chosen, rejected))
        for number, completion in enumerate(facts.group.completions):
            key = mixed_key(facts.row_key, number)
            if completion.desirable is not None and self._thumbs.wants(key):
                self._thumbs.add(key, (facts.prompt_key, facts.lengths[number], completion.desirable))

    def drafts(self) -> Iterator[Draft]:
        if any(self._counts.values()):
            yield self._of_pairs()
        if len(self._thumbs):
            yield from self._of_thumbs()

    def _of_pairs(self) -> Draft:
        total = sum(self._counts.values())
        rows = np.array(self._sample.items(), dtype=np.uint64)
        lengths = rows[:, 1:].astype(np.int64)
        bounds = _length_bounds(lengths.ravel())
        features = _length_features(lengths[:, 0], bounds) - _length_features(lengths[:, 1], bounds)
        accuracy = _accuracy_of_length(ClassifierData(features, None, rows[:, 0]))
        share = self._counts["longer"] / total
        worst = max(share, self._counts["shorter"] / total, accuracy.value if accuracy else 0.0)
        return self._draft(_LONGER, (self._counts["longer"], total), accuracy, worst, self._counts, percent=100 * share)

    def _of_thumbs(self) -> Iterator[Draft]:
        items = self._thumbs.items()
        labels = np.array([label for *_, label in items])
        if labels.all() or not labels.any():
            return
        lengths = np.array([length for _, length, _ in items], dtype=np.int64)
        features = _length_features(lengths, _length_bounds(lengths))
        prompts = np.array([key for key, *_ in items], dtype=np.uint64)
        accuracy = _accuracy_of_length(ClassifierData(features, labels, prompts))
        up, down = (float(np.median(lengths[labels == kind])) for kind in (True, False))
        measures = {"median_desirable": up, "median_undesirable": down}
        counts = (int(labels.sum()), len(items))
        yield self._draft(_MEDIANS, counts, accuracy, accuracy.value if accuracy else 0.5, measures, up=up, down=down)

    @staticmethod
    def _draft(
        rule: CheckRule,
        counts: tuple[int, int],
        accuracy: Accuracy | None,
        worst: float,
        measures: Mapping[str, float],
        **values: float,
    ) -> Draft:
        severity: Severity = "note"
        if accuracy is not None and accuracy.is_above_chance and worst >= _LENGTH_WARNING:
            severity = "error" if worst >= _LENGTH_ERROR else "warning"
        return rule.draft(
            *counts,
            severity=severity,
            is_advised=severity != "note",
            measures={**measures, **(accuracy.as_measures() if accuracy else {})},
            values={**values, "accuracy": f"; classified correctly by length alone: {accuracy}" if accuracy else ""},
        )


def _length_features(lengths: NDArray[np.int64], bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of a length, and the bin it is in. Shape: (unit, 1 + bin).

    A linear classifier on these can prefer any length, so it finds a preference for long, short or middling answers.
    """
    bins = np.eye(len(bounds) + 1)[np.searchsorted(bounds, lengths, side="right")]
    return np.column_stack([np.log1p(lengths), bins])


def _length_bounds(lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Bounds of ten bins with about equal counts. Shape: (bin - 1,)."""
    return np.unique(np.quantile(lengths, np.linspace(0, 1, _NUM_LENGTH_BINS + 1)[1:-1]))


def _accuracy_of_length(data: ClassifierData) -> Accuracy | None:
    return cross_validated(data, _fit_by_length) if data.num_units >= _FEWEST else None


def _fit_by_length(data: ClassifierData) -> Scorer:
    """The best of three on the data: longer wins, shorter wins, or the linear classifier."""
    candidates: list[Callable[[Any], NDArray[np.float64]]] = [fit_linear(data).scores]
    if data.labels is None:
        candidates += [lambda features: features[:, 0], lambda features: -features[:, 0]]
    return max(candidates, key=lambda scores: float(data.correct(scores(data.features)).mean()))


_WORD_SAMPLE = 10_000
_MOST_CHARACTERS = 3_000
_NUM_SHOWN, _NUM_IN_TITLE = 8, 3
_WORD_WARNING, _WORD_ERROR = 0.7, 0.9
_TOKEN = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]|\n+")
_MOST_FEATURES = 20_000
_FEWEST_TEXTS = 3
_MOST_TEXTS_LISTED = 4_000

_WORDS_OF_PAIRS = CheckRule(
    title="Chosen and rejected classified correctly by words alone: {accuracy}{hint}",
    unit="pairs",
    reason="If words separate a data set, the model learns those words: 'Sure!' alone, if that separates it.",
    advice="Read the words below. Rewrite or drop artefacts of how the data were made, such as a phrase of one of "
    "two models, a format, or an opening.",
)
_WORDS_OF_THUMBS = replace(_WORDS_OF_PAIRS, unit="completions")


@dataclass(frozen=True, slots=True)
class _SampledTexts:
    """Texts of a pair, or the text of a completion on the side of its thumb."""

    prompt_key: int
    chosen: str
    rejected: str


@final
class Shortcuts(Check):
    """Accuracy of a linear classifier on words that tells chosen from rejected, and the words it uses.

    Features: words, punctuation, word pairs and the first two words, present or not. The classifier sees the first
    3,000 characters of at most 10,000 distinct pairs and is tested on prompts it did not see; guessing gives a half.
    Without pairs, it tells desirable from undesirable completions. Severity: a warning if the interval of the accuracy
    lies above a half and the accuracy is 70 % or more, an error from 90 %. Judging answers takes more than counting
    words, so labels that words give away that well are rarely intended. Fewer than 50 pairs or thumbs give no finding.
    """

    name = "shortcuts"
    about = "labels that words give away"
    blames_rows = False

    def __init__(self, settings: CheckSettings) -> None:
        self._pairs = Sample[_SampledTexts](_WORD_SAMPLE, seed=settings.seed)
        self._thumbs = Sample[_SampledTexts](_WORD_SAMPLE, seed=settings.seed)

    def add(self, facts: GroupFacts) -> None:
        texts = facts.texts
        for number, pair in enumerate(facts.pairs):
            key = mixed_key(facts.row_key, number)
            if self._pairs.wants(key):
                both = (texts[pair.chosen][:_MOST_CHARACTERS], texts[pair.rejected][:_MOST_CHARACTERS])
                self._pairs.add(key, _SampledTexts(facts.prompt_key, *both))
        for number, completion in enumerate(facts.group.completions):
            key = mixed_key(facts.row_key, number)
            if completion.desirable is not None and self._thumbs.wants(key):
                text = texts[number][:_MOST_CHARACTERS]
                sides = (text, "") if completion.desirable else ("", text)
                self._thumbs.add(key, _SampledTexts(facts.prompt_key, *sides))

    def drafts(self) -> Iterator[Draft]:
        if len(self._pairs) >= _FEWEST:
            yield from self._drafts(self._pairs.items(), _WORDS_OF_PAIRS)
        elif len(self._thumbs) >= _FEWEST:
            yield from self._drafts(self._thumbs.items(), _WORDS_OF_THUMBS)

    @staticmethod
    def _drafts(items: Sequence[_SampledTexts], rule: CheckRule) -> Iterator[Draft]:
        vocabulary = Vocabulary([text for item in items for text in (item.chosen, item.rejected) if text])
        if not vocabulary.names:
            return
        chosen = vocabulary.matrix(item.chosen for item in items)
        rejected = vocabulary.matrix(item.rejected for item in items)
        prompts = np.array([item.prompt_key for item in items], dtype=np.uint64)
        if rule is _WORDS_OF_PAIRS:
            data = ClassifierData((chosen - rejected).tocsr(), None, prompts)
        else:
            labels = np.array([bool(item.chosen) for item in items])
            data = ClassifierData((chosen + rejected).tocsr(), labels, prompts)
        accuracy = cross_validated(data, lambda part: fit_linear(part).scores)
        if accuracy is None:
            return
        weights = fit_linear(data).weights
        order = np.argsort(-weights, kind="stable")
        top = {
            "chosen": [index for index in order[:_NUM_SHOWN] if weights[index] > 0],
            "rejected": [index for index in order[::-1][:_NUM_SHOWN] if weights[index] < 0],
        }
        is_sure = accuracy.is_above_chance and accuracy.value >= _WORD_WARNING
        severity: Severity = "note" if not is_sure else "error" if accuracy.value >= _WORD_ERROR else "warning"
        names = ", ".join(repr(vocabulary.names[index]) for index in top["chosen"][:_NUM_IN_TITLE])
        yield rule.draft(
            round(accuracy.value * accuracy.num_units),
            accuracy.num_units,
            severity=severity,
            is_advised=is_sure,
            measures={**accuracy.as_measures(), **_listed(top, vocabulary, weights, chosen, rejected)},
            values={"accuracy": accuracy, "hint": f"; words of chosen: {names}" if is_sure and names else ""},
        )


def _listed(
    top: Mapping[str, Sequence[int]],
    vocabulary: "Vocabulary",
    weights: NDArray[np.float64],
    chosen: "csr_matrix",
    rejected: "csr_matrix",
) -> dict[str, str]:
    """The features with the largest weights on either side, each with its weight and the texts that have it."""
    up, down = (np.asarray(matrix.sum(axis=0)).ravel().astype(int) for matrix in (chosen, rejected))
    return {
        f"{side} {number}": f"{vocabulary.names[index]} (weight {weights[index]:+.2f}; in {up[index]:,} chosen, "
        f"{down[index]:,} rejected)"
        for side, indices in top.items()
        for number, index in enumerate(indices, start=1)
    }


def features_of(text: str) -> set[str]:
    """Features of a text: its words, punctuation and line breaks, pairs of neighbours, and its first two words.

    >>> sorted(features_of("Sure! Yes"))
    ['!', '! yes', 'starts with: sure', 'starts with: sure !', 'sure', 'sure !', 'yes']
    """
    tokens = ["\\n" if token.startswith("\n") else token for token in _TOKEN.findall(text.casefold().strip())]
    features = {*tokens, *(f"{first} {second}" for first, second in pairwise(tokens))}
    return features | {f"starts with: {' '.join(tokens[:count])}" for count in (1, 2) if len(tokens) >= count}


class Vocabulary:
    """The most frequent features: at most 20,000, each in three texts or more.

    They are counted in the first 4,000 texts, so memory does not grow with the number of texts.

    Args:
        texts: In an arbitrary order, such as that of a sample.

    >>> Vocabulary(["a b", "a c", "a d"]).names
    ['a', 'starts with: a']
    """

    def __init__(self, texts: Sequence[str]) -> None:
        counts = Counter(feature for text in texts[:_MOST_TEXTS_LISTED] for feature in features_of(text))
        common = [(-count, name) for name, count in counts.items() if count >= _FEWEST_TEXTS]
        self.names = [name for _, name in sorted(common)[:_MOST_FEATURES]]
        self._columns = {name: column for column, name in enumerate(self.names)}

    def matrix(self, texts: Iterable[str]) -> "csr_matrix":
        """1 where a text has a feature. Shape: (text, feature)."""
        from scipy.sparse import csr_matrix

        columns, ends = [], [0]
        for text in texts:
            known = (self._columns.get(feature) for feature in features_of(text))
            columns.append(np.array(sorted(column for column in known if column is not None), dtype=np.int32))
            ends.append(ends[-1] + len(columns[-1]))
        indices = np.concatenate(columns) if columns else np.zeros(0, dtype=np.int32)
        return csr_matrix((np.ones(len(indices)), indices, ends), shape=(len(ends) - 1, len(self.names)))


CHECKS: tuple[type[Check], ...] = (LengthBias, Shortcuts)
