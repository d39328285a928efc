"""The probabilistic grammar that writes the reviews."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from preftune.demo.reviews.derivation import Degree, Derivation, Judgement, Sentiment
from preftune.demo.reviews.lexicon import (
    ADJECTIVES,
    ADVICE,
    ASPECTS,
    PERFORMANCES,
    RATINGS,
    RESPONSES,
    VERDICTS,
    Aspect,
)
from preftune.demo.reviews.openings import ACTORS, Opening, write_opening

MAX_JUDGEMENTS_PER_SENTENCE = 2
_MAX_BODY_SENTENCES = 3
MAX_JUDGEMENTS = MAX_JUDGEMENTS_PER_SENTENCE * (1 + _MAX_BODY_SENTENCES) + 1
"""The first sentence, the body, and a closing sentence with one judgement."""

_COMPOUND_PROBABILITY = 0.3
_FACT_PROBABILITY = 0.2
_CLOSING_PROBABILITY = 0.75
_WHEN_PROBABILITY = 0.2
_OWN_PROBABILITY = 0.5
_WHEN = ("throughout", "at the start", "in the first half", "in the second half", "near the end")
_FACTS = (
    "it runs for about two hours",
    "it was filmed in {place}",
    "it is based on a true story",
    "it is the second film by the same director",
    "it follows a {role} who {deed}",
    "it begins with a {role} who {deed}",
    "we meet a {role} who {deed}",
)
_PLACES = ("Lisbon", "Iceland", "Morocco", "Scotland")
_AGREEING = ("{}, and {}", "{}; {}")
_CONTRASTING_CLAUSES = ("{}, but {}", "{}, yet {}")
_CONTRASTING_SENTENCES = (*_CONTRASTING_CLAUSES, "although {}, {}")
_CLOSINGS = (
    ("overall it was {}", VERDICTS),
    ("all in all it was {}", VERDICTS),
    ("in the end it was {}", VERDICTS),
    ("my advice is to {}", ADVICE),
    ("I give it {} out of five", RATINGS),
)


@dataclass(frozen=True, slots=True)
class Review:
    """A review and how it came about.

    Args:
        prompt: The opening, which does not judge; ends within a sentence.
        sentiment: The latent that it was drawn from.
        judgements: The judging phrases, in the order of the text.
        logps: log p(prompt and continuation | sentiment), for either sentiment. Unit: nats.
    """

    prompt: str
    continuation: str
    sentiment: Sentiment
    judgements: tuple[Judgement, ...]
    logps: Mapping[Sentiment, float]


@dataclass(frozen=True, slots=True)
class _Clause:
    text: str
    degree: Degree


class ReviewGrammar:
    """Short film reviews: an opening, then sentences that judge, agree, contradict or merely tell.

    A review is written so:

        sentiment     ~ positive or negative, one half each
        opening       ~ where, when, with whom, what kind of film
        review        = opening, first sentence, 1 to 3 body sentences, closing sentence (with probability 0.75)
        sentence      = a clause, two clauses (0.3), or in the body a fact that judges nothing (0.2)
        clause        = an aspect, an actor or a viewer, and one judgement
        degree of a judgement ~ `DEGREE_PROBABILITIES[sentiment]`, independently of all that went before
        phrase of a judgement ~ uniform over those of this slot and degree that the review has not used yet
        connective of two clauses ~ uniform, over "but", "although" and the like where praise meets blame,
                                  over "and" and the like where it does not

    Only the degrees depend on the sentiment, so the likelihood ratio of a text is the product of those of its
    judgements, as `SentimentReward` computes it.

    >>> review = ReviewGrammar().sample(random.Random(12))
    >>> review.prompt
    'I saw an old romantic comedy on a long flight on Friday, and my son came along. The'
    >>> review.continuation
    ' dialogue seemed cringeworthy. Emil Hart as the florist was hopelessly miscast. I give it two stars out of five.'
    >>> [judgement.phrase for judgement in review.judgements]
    ['cringeworthy', 'was hopelessly miscast', 'two stars']
    """

    def sample(self, rng: random.Random) -> Review:
        """One review; the same generator state gives the same review."""
        sentiment = rng.choice(tuple(Sentiment))
        derivation = Derivation(rng, sentiment)
        opening = write_opening(derivation.choose)
        continuation = _Writer(derivation, opening).continuation()
        return Review(opening.text, continuation, sentiment, tuple(derivation.judgements), derivation.logps)

    def sample_prompt(self, rng: random.Random) -> str:
        """One opening on its own, drawn as in `sample`."""
        return write_opening(rng.choice).text


class _Writer:
    """Writes one continuation. Aspects, actors, viewers and facts come from decks, so that none appears twice."""

    def __init__(self, derivation: Derivation, opening: Opening) -> None:
        self._derivation = derivation
        self._genre = opening.genre
        self._aspects = [*ASPECTS, Aspect(opening.genre.aspect, False), Aspect(opening.genre.aspects, True)]
        self._actors = list(ACTORS)
        self._roles = list(opening.genre.roles)
        self._viewers = ["I", f"my {opening.companion}", "the audience"]
        self._facts = list(_FACTS)

    def continuation(self) -> str:
        derivation = self._derivation
        aspect = self._aspect_clause()
        first = _Clause(aspect.text.removeprefix("the"), aspect.degree)
        sentences = [self._extended(first, _CONTRASTING_CLAUSES)]
        for _ in range(derivation.choose(range(1, _MAX_BODY_SENTENCES + 1))):
            is_fact = derivation.happens(_FACT_PROBABILITY)
            sentence = self._fact() if is_fact else self._extended(self._clause(), _CONTRASTING_SENTENCES)
            sentences.append(_capitalised(sentence))
        if derivation.happens(_CLOSING_PROBABILITY):
            pattern, phrases = derivation.choose(_CLOSINGS)
            sentences.append(_capitalised(pattern.format(derivation.judge(phrases).phrase)))
        return ". ".join(sentences) + "."

    def _extended(self, clause: _Clause, contrasting: tuple[str, ...]) -> str:
        """The clause alone, or joined to another one."""
        if not self._derivation.happens(_COMPOUND_PROBABILITY):
            return clause.text
        other = self._clause()
        pattern = self._derivation.choose(contrasting if clause.degree.opposes(other.degree) else _AGREEING)
        return pattern.format(clause.text, other.text)

    def _clause(self) -> _Clause:
        kinds = [self._aspect_clause]
        if self._roles:
            kinds.append(self._performance_clause)
        if self._viewers:
            kinds.append(self._response_clause)
        return self._derivation.choose(kinds)()

    def _aspect_clause(self) -> _Clause:
        derivation = self._derivation
        aspect = derivation.draw(self._aspects)
        verb = derivation.choose(("were" if aspect.is_plural else "was", "seemed", "felt"))
        own = aspect.adjectives
        judgement = derivation.judge(own if own and derivation.happens(_OWN_PROBABILITY) else ADJECTIVES)
        when = f" {derivation.choose(_WHEN)}" if derivation.happens(_WHEN_PROBABILITY) else ""
        return _Clause(f"the {aspect.name} {verb} {judgement.phrase}{when}", judgement.degree)

    def _performance_clause(self) -> _Clause:
        subject = f"{self._derivation.draw(self._actors)} as the {self._derivation.draw(self._roles)}"
        judgement = self._derivation.judge(PERFORMANCES)
        return _Clause(f"{subject} {judgement.phrase}", judgement.degree)

    def _response_clause(self) -> _Clause:
        subject = self._derivation.draw(self._viewers)
        judgement = self._derivation.judge(RESPONSES)
        return _Clause(f"{subject} {judgement.phrase}", judgement.degree)

    def _fact(self) -> str:
        derivation = self._derivation
        fact = derivation.draw(self._facts)
        if "{place}" in fact:
            return fact.format(place=derivation.choose(_PLACES))
        if "{role}" in fact:
            return fact.format(role=derivation.choose(self._genre.roles), deed=derivation.choose(self._genre.deeds))
        return fact


def _capitalised(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
