"""The choices that make one review, and how probable they were under both sentiments."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from preftune.demo.reviews.degrees import DEGREE_PROBABILITIES, Degree, Sentiment
from preftune.demo.reviews.lexicon import Graded

__all__ = ["Derivation", "Judgement"]

Option = TypeVar("Option")


@dataclass(frozen=True, slots=True)
class Judgement:
    """A judging phrase as it stands in a review."""

    phrase: str
    degree: Degree


@dataclass(slots=True)
class Derivation:
    """Draws what a review needs and keeps account.

    Args:
        rng: Where chance comes from.
        sentiment: What the reviewer thinks; only `judge` looks at it.
    """

    rng: random.Random
    sentiment: Sentiment
    logps: dict[Sentiment, float] = field(default_factory=lambda: dict.fromkeys(Sentiment, 0.0))
    """log p(choices so far | sentiment), for either sentiment. Unit: nats."""
    judgements: list[Judgement] = field(default_factory=list)
    """In the order of the text."""

    def choose(self, options: Sequence[Option]) -> Option:
        """One of the options, all equally likely."""
        self._account(-math.log(len(options)))
        return options[self.rng.randrange(len(options))]

    def draw(self, deck: list[Option]) -> Option:
        """One card of the deck, which is taken out of it."""
        self._account(-math.log(len(deck)))
        return deck.pop(self.rng.randrange(len(deck)))

    def happens(self, probability: float) -> bool:
        """True with this probability, which lies in (0, 1)."""
        outcome = self.rng.random() < probability
        self._account(math.log(probability if outcome else 1 - probability))
        return outcome

    def judge(self, phrases: Graded) -> Judgement:
        """A degree as the sentiment would have it, then a phrase of that degree that the review has not used yet."""
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
