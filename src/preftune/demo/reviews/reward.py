"""The true reward of a text: its log-likelihood ratio between the sentiments."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from preftune.demo.reviews.derivation import DEGREE_PROBABILITIES, Degree, Judgement, Sentiment
from preftune.demo.reviews.grammar import MAX_JUDGEMENTS, MAX_JUDGEMENTS_PER_SENTENCE
from preftune.demo.reviews.lexicon import all_phrases
from preftune.groups import Text

LOG_ODDS: dict[Degree, float] = {
    degree: math.log(
        DEGREE_PROBABILITIES[Sentiment.POSITIVE][degree] / DEGREE_PROBABILITIES[Sentiment.NEGATIVE][degree]
    )
    for degree in Degree
}
"""log p(degree | positive) - log p(degree | negative). Unit: nats."""

_STRETCH = re.compile(r"[^,;:.!?()\"\n]+|[.!?]")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Contribution:
    """Contribution of one judging phrase to the reward. Unit: nats."""

    phrase: str
    log_odds: float


class SentimentReward:
    """The true reward of a text: log p(text | positive) - log p(text | negative) under `ReviewGrammar`, in nats.

    reward(text) = sum over the judging phrases that count of log p(degree | positive) - log p(degree | negative)

    For a text of the grammar this is exact: only the degrees of its judgements depend on the sentiment, each phrase
    belongs to one degree, and every phrase is found. For any other text the same rules apply to what is there:

    - A phrase is matched by its words, in any case, from left to right, the longest first ("never dull" is praise),
      and not across punctuation. Other words, and parts of words or phrases, do not count.
    - A phrase counts once, at its first occurrence. The grammar never repeats one.
    - At most 2 phrases of a sentence and 9 of a text count, the first ones. The grammar never writes more.

    So no text gains by repetition, by lists of adjectives or by mere length: |reward| <= 9 * log 6 = 16.13.
    A prompt of the grammar judges nothing, so the reward of a continuation is that of the whole.

    >>> reward = SentimentReward()
    >>> round(reward(" plot was brilliant, but the sets seemed cheap."), 4)  # log(.30 / .05) + log(.16 / .36)
    0.9808
    >>> reward("The plot was brilliant. The score was brilliant.") == reward("brilliant")
    True
    >>> reward("A film about nothing in particular.")
    0.0
    """

    def __init__(self) -> None:
        self._degrees = {tuple(phrase.lower().split()): degree for phrase, degree in all_phrases().items()}
        self._num_words = max(len(words) for words in self._degrees)

    def __call__(self, text: str) -> float:
        """The reward of the text. Unit: nats."""
        return math.fsum(contribution.log_odds for contribution in self.explain(text))

    def explain(self, text: str) -> tuple[Contribution, ...]:
        """The phrases that count, in the order of the text; the reward is their sum.

        >>> [contribution.phrase for contribution in SentimentReward().explain("Never dull, and, well, gripping!")]
        ['never dull', 'gripping']
        """
        return tuple(Contribution(judgement.phrase, LOG_ODDS[judgement.degree]) for judgement in self._judgements(text))

    def _judgements(self, text: str) -> list[Judgement]:
        counted: dict[str, Judgement] = {}
        num_in_sentence = 0
        for stretch in _STRETCH.findall(text):
            if stretch in ".!?":
                num_in_sentence = 0
                continue
            for judgement in self._found(stretch):
                if judgement.phrase in counted or num_in_sentence == MAX_JUDGEMENTS_PER_SENTENCE:
                    continue
                counted[judgement.phrase] = judgement
                num_in_sentence += 1
        return list(counted.values())[:MAX_JUDGEMENTS]

    def _found(self, stretch: str) -> Iterator[Judgement]:
        words = _WORD.findall(stretch.lower())
        start = 0
        while start < len(words):
            for end in range(min(start + self._num_words, len(words)), start, -1):
                degree = self._degrees.get(tuple(words[start:end]))
                if degree is not None:
                    yield Judgement(" ".join(words[start:end]), degree)
                    start = end
                    break
            else:
                start += 1


_REWARD = SentimentReward()


def true_reward(prompt: Text, completion: str) -> float:  # noqa: ARG001
    """The true reward of a completion, as a judge for `--judge`. The neutral prompt does not count. Unit: nats.

    >>> round(true_reward("The", " plot was good."), 4)  # log(.34 / .14)
    0.8873
    """
    return _REWARD(completion)
