"""What a judgement says, and how often each kind occurs in positive and in negative reviews."""

from collections.abc import Mapping
from enum import Enum

__all__ = ["DEGREE_PROBABILITIES", "Degree", "Sentiment"]


class Sentiment(Enum):
    """What a reviewer thinks of the film as a whole: the latent variable of a review."""

    POSITIVE = "positive"
    NEGATIVE = "negative"


class Degree(Enum):
    """What one judgement within a review says; the value is its sign."""

    RAVE = "++"
    PRAISE = "+"
    LUKEWARM = "0"
    COMPLAINT = "-"
    PAN = "--"

    def opposes(self, other: "Degree") -> bool:
        """Whether one is praise and the other blame.

        >>> Degree.RAVE.opposes(Degree.COMPLAINT), Degree.RAVE.opposes(Degree.LUKEWARM)
        (True, False)
        """
        return {self.value[0], other.value[0]} == {"+", "-"}


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
"""p(degree of a judgement | sentiment of the review): the only place where the two kinds of review differ.

Slightly lopsided, so that praise and blame seldom cancel to exactly nothing.
"""
