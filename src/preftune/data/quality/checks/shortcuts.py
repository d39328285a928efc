"""Words that give the chosen completion away."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
from typing_extensions import override

from preftune.data.quality.accuracy import Accuracy
from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.classifier import Fitted, Judgement, cross_validated, fit_linear
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found, Severity
from preftune.data.quality.keys import mixed_key
from preftune.data.quality.sample import Sample
from preftune.data.quality.vocabulary import Vocabulary

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["Shortcuts"]

_SAMPLE_SIZE = 10_000
_MOST_CHARACTERS = 3_000
_FEWEST = 50
_NUM_SHOWN = 8
_WARNING, _ERROR = 0.7, 0.9


@dataclass(frozen=True, slots=True)
class _Sampled:
    """A pair's texts, or a completion's text on the side of its thumb."""

    prompt_key: int
    chosen: str
    rejected: str


@final
class Shortcuts(Check):
    """How well a linear classifier on words tells chosen from rejected, and by which words.

    Words, signs, word pairs and the first two words of a text: which of them a text has, not how often. Of at most
    10,000 distinct pairs the first 3,000 characters; on prompts that it did not see; half is guessing. Where there are
    no pairs, desirable and undesirable completions are told apart. Severity: a warning where the interval of the
    accuracy lies above a half and the accuracy is 70 % or more, an error from 90 %. Judging answers takes more than
    counting words, so what words give away that well is rarely what was meant. Below 50 it says nothing.
    """

    def __init__(self, settings: CheckSettings) -> None:
        self._pairs = Sample[_Sampled](_SAMPLE_SIZE, seed=settings.seed)
        self._thumbs = Sample[_Sampled](_SAMPLE_SIZE, seed=settings.seed)

    @override
    def add(self, facts: GroupFacts) -> None:
        texts = facts.texts
        for number, pair in enumerate(facts.judged.comparisons):
            key = mixed_key(facts.row_key, number)
            if self._pairs.wants(key):
                both = (texts[pair.chosen][:_MOST_CHARACTERS], texts[pair.rejected][:_MOST_CHARACTERS])
                self._pairs.add(key, _Sampled(facts.prompt_key, *both))
        for number, completion in enumerate(facts.group.completions):
            key = mixed_key(facts.row_key, number)
            if completion.desirable is not None and self._thumbs.wants(key):
                text = texts[number][:_MOST_CHARACTERS]
                sides = (text, "") if completion.desirable else ("", text)
                self._thumbs.add(key, _Sampled(facts.prompt_key, *sides))

    @override
    def found(self) -> Iterator[Found]:
        if len(self._pairs) >= _FEWEST:
            yield from self._found([item for _, item in self._pairs.items()], is_paired=True)
        elif len(self._thumbs) >= _FEWEST:
            yield from self._found([item for _, item in self._thumbs.items()], is_paired=False)

    def _found(self, items: Sequence[_Sampled], *, is_paired: bool) -> Iterator[Found]:
        vocabulary = Vocabulary([text for item in items for text in (item.chosen, item.rejected) if text])
        if not vocabulary.names:
            return
        chosen = vocabulary.matrix(item.chosen for item in items)
        rejected = vocabulary.matrix(item.rejected for item in items)
        prompts = np.array([item.prompt_key for item in items], dtype=np.uint64)
        if is_paired:
            judgement = Judgement((chosen - rejected).tocsr(), None, prompts)
        else:
            labels = np.array([bool(item.chosen) for item in items])
            judgement = Judgement((chosen + rejected).tocsr(), labels, prompts)
        accuracy = cross_validated(judgement, _fit)
        if accuracy is not None:
            shown = _features(vocabulary, fit_linear(judgement).weights, chosen, rejected)
            yield _as_found(accuracy, shown, unit="pairs" if is_paired else "completions")


def _fit(part: Judgement) -> Fitted:
    return fit_linear(part).scores


def _features(
    vocabulary: Vocabulary,
    weights: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    chosen: "csr_matrix",
    rejected: "csr_matrix",
) -> dict[str, str]:
    """The features that weigh most on either side, each with its weight and the texts that have it."""
    counts = [np.asarray(matrix.sum(axis=0)).ravel().astype(int) for matrix in (chosen, rejected)]
    order = np.argsort(-weights, kind="stable")
    sides = {
        "chosen": [index for index in order[:_NUM_SHOWN] if weights[index] > 0],
        "rejected": [index for index in order[::-1][:_NUM_SHOWN] if weights[index] < 0],
    }
    return {
        f"{side} {number}": f"{vocabulary.names[index]} (weight {weights[index]:+.2f}; in {counts[0][index]:,} chosen, "
        f"{counts[1][index]:,} rejected)"
        for side, indices in sides.items()
        for number, index in enumerate(indices, start=1)
    }


def _as_found(accuracy: Accuracy, features: dict[str, str], *, unit: str) -> Found:
    is_sure = accuracy.is_above_chance and accuracy.value >= _WARNING
    severity: Severity = "note" if not is_sure else "error" if accuracy.value >= _ERROR else "warning"
    names = [text.partition(" (weight")[0] for name, text in features.items() if name.startswith("chosen")][:3]
    hint = f"; words of chosen: {', '.join(map(repr, names))}" if is_sure and names else ""
    return Found(
        check="shortcuts",
        severity=severity,
        title=f"Chosen and rejected told right by words alone: {accuracy}{hint}",
        count=round(accuracy.value * accuracy.num_units),
        total=accuracy.num_units,
        unit=unit,
        why="A data set that words can separate teaches those words: one separable by 'Sure!' teaches 'Sure!'.",
        advice="Look at the words below. Rewrite or drop what was put in by how the data were made, such as a phrase "
        "of one of two models, a format, or an opening."
        if is_sure
        else "",
        measures={**accuracy.as_measures(), **features},
    )
