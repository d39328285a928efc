"""Is the longer completion the better one?"""

from collections.abc import Iterator
from typing import final

import numpy as np
from typing_extensions import override

from preftune.data.quality.accuracy import Accuracy
from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.classifier import Judgement, cross_validated
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found, Severity
from preftune.data.quality.keys import mixed_key
from preftune.data.quality.length_classifier import fit_by_length, length_bounds, length_features
from preftune.data.quality.sample import Sample

__all__ = ["LengthBias"]

_SAMPLE_SIZE = 50_000
_FEWEST = 50
_WARNING, _ERROR = 0.6, 0.8


@final
class LengthBias(Check):
    """How often chosen is longer than rejected, and how well length alone tells them apart.

    The share is of all pairs, in words. The accuracy is that of the best classifier that knows nothing but lengths (the
    longer, the shorter, or any worth for any length), on prompts that it did not see, with at most 50,000 distinct
    pairs; half is guessing. Severity: a warning where the accuracy, or the share on either side, is 60 % or more and
    the interval of the accuracy lies above a half; an error from 80 %: then length explains most of the labels, and
    that is what a model learns first. Below 50 pairs of distinct rows nothing is said about accuracy.
    """

    def __init__(self, settings: CheckSettings) -> None:
        self._longer = self._shorter = self._pairs = 0
        self._sample = Sample[tuple[int, int, int]](_SAMPLE_SIZE, seed=settings.seed)
        self._thumbs = Sample[tuple[int, int, bool]](_SAMPLE_SIZE, seed=settings.seed)

    @override
    def add(self, facts: GroupFacts) -> None:
        for number, pair in enumerate(facts.judged.comparisons):
            chosen, rejected = facts.lengths[pair.chosen], facts.lengths[pair.rejected]
            self._pairs += 1
            self._longer += chosen > rejected
            self._shorter += chosen < rejected
            key = mixed_key(facts.row_key, number)
            if self._sample.wants(key):
                self._sample.add(key, (facts.prompt_key, chosen, rejected))
        for number, completion in enumerate(facts.group.completions):
            key = mixed_key(facts.row_key, number)
            if completion.desirable is not None and self._thumbs.wants(key):
                self._thumbs.add(key, (facts.prompt_key, facts.lengths[number], completion.desirable))

    @override
    def found(self) -> Iterator[Found]:
        if self._pairs:
            yield self._found_pairs()
        if len(self._thumbs):
            yield from self._found_thumbs()

    def _found_pairs(self) -> Found:
        share = self._longer / self._pairs
        rows = np.array([item for _, item in self._sample.items()], dtype=np.uint64)
        lengths = rows[:, 1:].astype(np.int64)
        bounds = length_bounds(lengths.ravel())
        features = length_features(lengths[:, 0], bounds) - length_features(lengths[:, 1], bounds)
        accuracy = _accuracy(Judgement(features, None, rows[:, 0]))
        side = max(share, self._shorter / self._pairs)
        return _found(
            f"Chosen completions longer than the rejected one: {100 * share:.0f} %",
            count=self._longer,
            total=self._pairs,
            accuracy=accuracy,
            worst=max(side, accuracy.value) if accuracy else side,
            measures={"longer": self._longer, "shorter": self._shorter, "equal": self._equal},
        )

    @property
    def _equal(self) -> int:
        return self._pairs - self._longer - self._shorter

    def _found_thumbs(self) -> Iterator[Found]:
        items = [item for _, item in self._thumbs.items()]
        labels = np.array([label for *_, label in items])
        if labels.all() or not labels.any():
            return
        lengths = np.array([length for _, length, _ in items], dtype=np.int64)
        features = length_features(lengths, length_bounds(lengths))
        accuracy = _accuracy(Judgement(features, labels, np.array([key for key, *_ in items], dtype=np.uint64)))
        medians = [float(np.median(lengths[labels == kind])) for kind in (True, False)]
        yield _found(
            f"Words in the median: {medians[0]:,.0f} of desirable completions, {medians[1]:,.0f} of undesirable ones",
            count=int(labels.sum()),
            total=len(items),
            accuracy=accuracy,
            worst=accuracy.value if accuracy else 0.5,
            measures={"median_desirable": medians[0], "median_undesirable": medians[1]},
        )


def _accuracy(judgement: Judgement) -> Accuracy | None:
    return cross_validated(judgement, fit_by_length) if judgement.num_units >= _FEWEST else None


def _found(
    title: str, *, count: int, total: int, accuracy: Accuracy | None, worst: float, measures: dict[str, float | int]
) -> Found:
    is_sure = accuracy is not None and accuracy.is_above_chance
    severity: Severity = "note" if not is_sure or worst < _WARNING else "error" if worst >= _ERROR else "warning"
    told = f"; told right by length alone: {accuracy}" if accuracy else ""
    return Found(
        check="length-bias",
        severity=severity,
        title=title + told,
        count=count,
        total=total,
        unit="pairs" if "longer" in measures else "completions",
        why="What length explains is learned first: the model learns to write longer or shorter, not better.",
        advice="Balance the data with `preftune clean --balance-length`, or train with a method that keeps length out "
        "of the reward: dpo_length_normalized, rdpo_length, ld_dpo. Watch the lengths of what the model writes."
        if severity != "note"
        else "",
        measures={**measures, **(accuracy.as_measures() if accuracy else {})},
    )
