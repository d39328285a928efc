"""The random choices that make a review, and their probability under both sentiments."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar


class Sentiment(Enum):
    """The reviewer's opinion of the film: the latent variable of a review."""

    POSITIVE = "positive"
    NEGATIVE = "negative"


class Degree(Enum):
    """Degree of praise of one judgement in a review; the value is its sign."""

    RAVE = "++"
    PRAISE = "+"
    LUKEWARM = "0"
    COMPLAINT = "-"
    PAN = "--"

    def opposes(self, other: "Degree") -> bool:
        """True if one is praise and the other blame.

        >>> Degree.RAVE.opposes(Degree.COMPLAINT), Degree.RAVE.opposes(Degree.LUKEWARM)
        (True, False)
        """
        return {self.value[0], other.value[0]} == {"+", "-"}


Graded = Mapping[Degree, tuple[str, ...]]
"""Phrases that fit one slot, by degree."""

DEGREE_PROBABILITIES: Mapping[Sentiment, Mapping[Degree, float]] = {
    Sentiment.POSITIVE: {
        Degree.RAVE: 0.30,
        Degree.PRAISE: 0.34,
        Degree.LUKEWARM: 0.14,
        Degree.COMPLAINT: 0.16,
        Degree.PAN: 0.06,
    },
    Sentiment.NEGATIVE: {
        Degree.RAVE: 0.05,
        Degree.PRAISE: 0.14,
        Degree.LUKEWARM: 0.16,
        Degree.COMPLAINT: 0.36,
        Degree.PAN: 0.29,
    },
}
"""p(degree of a judgement | sentiment of the review): the only difference between the two kinds of review.

Slightly asymmetric, so that praise and blame seldom cancel exactly.
"""


Option = TypeVar("Option")


@dataclass(frozen=True, slots=True)
class Judgement:
    """A judging phrase as it stands in a review."""

    phrase: str
    degree: Degree


@dataclass(slots=True)
class Derivation:
    """Makes the random choices of a review and sums their log-probabilities. Only `judge` depends on the sentiment."""

    rng: random.Random
    sentiment: Sentiment
    logps: dict[Sentiment, float] = field(default_factory=lambda: dict.fromkeys(Sentiment, 0.0))
    """log p(choices so far | sentiment), for either sentiment. Unit: nats."""
    judgements: list[Judgement] = field(default_factory=list)
    """In the order of the text."""

    def choose(self, options: Sequence[Option]) -> Option:
        """Draw one of the options uniformly."""
        self._account(-math.log(len(options)))
        return options[self.rng.randrange(len(options))]

    def draw(self, deck: list[Option]) -> Option:
        """Draw an item uniformly and remove it from the deck."""
        self._account(-math.log(len(deck)))
        return deck.pop(self.rng.randrange(len(deck)))

    def happens(self, probability: float) -> bool:
        """True with this probability, which lies in (0, 1)."""
        outcome = self.rng.random() < probability
        self._account(math.log(probability if outcome else 1 - probability))
        return outcome

    def judge(self, phrases: Graded) -> Judgement:
        """Draw a degree given the sentiment, then a phrase of that degree that the review has not used yet."""
        degrees = tuple(Degree)
        weights = [DEGREE_PROBABILITIES[self.sentiment][degree] for degree in degrees]
        degree = self.rng.choices(degrees, weights)[0]
        for sentiment in Sentiment:
            self.logps[sentiment] += math.log(DEGREE_PROBABILITIES[sentiment][degree])
        used = {judgement.phrase for judgement in self.judgements}
        judgement = Judgement(self.choose([phrase for phrase in phrases[degree] if phrase not in used]), degree)
        self.judgements.append(judgement)
        return judgement

    def _account(self, logp: float) -> None:
        for sentiment in Sentiment:
            self.logps[sentiment] += logp
