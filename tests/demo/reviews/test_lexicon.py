import pytest

from preftune.demo.reviews import lexicon
from preftune.demo.reviews.derivation import DEGREE_PROBABILITIES, Degree, Sentiment
from preftune.demo.reviews.lexicon import ADJECTIVES, ASPECTS, all_phrases
from preftune.demo.reviews.openings import ACTORS, GENRES
from preftune.demo.reviews.reward import SentimentReward

SLOTS = [
    ADJECTIVES,
    lexicon.PERFORMANCES,
    lexicon.RESPONSES,
    lexicon.VERDICTS,
    lexicon.ADVICE,
    lexicon.RATINGS,
    *(aspect.adjectives for aspect in ASPECTS if aspect.adjectives),
]


@pytest.mark.parametrize("sentiment", Sentiment)
def test_degrees_have_probabilities_that_sum_to_one(sentiment: Sentiment) -> None:
    assert set(DEGREE_PROBABILITIES[sentiment]) == set(Degree)
    assert sum(DEGREE_PROBABILITIES[sentiment].values()) == pytest.approx(1.0, abs=1e-12)


def test_no_phrase_stands_in_two_slots() -> None:
    assert sum(len(phrases) for graded in SLOTS for phrases in graded.values()) == len(all_phrases())


def test_a_phrase_in_two_degrees_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicon, "RATINGS", {Degree.RAVE: ("dull",)})
    with pytest.raises(ValueError, match="'dull' is both COMPLAINT and RAVE"):
        all_phrases()


def test_every_phrase_is_found_exactly_once() -> None:
    reward = SentimentReward()
    for phrase in all_phrases():
        assert [contribution.phrase for contribution in reward.explain(phrase)] == [phrase]


def test_genres_actors_and_aspects_judge_nothing() -> None:
    names = [*ACTORS, *(aspect.name for aspect in ASPECTS)]
    for genre in GENRES:
        names += [genre.name, genre.aspect, genre.aspects, *genre.roles, *genre.deeds]
    assert [name for name in names if SentimentReward().explain(name)] == []


def test_the_lexicon_is_a_few_hundred_words() -> None:
    words = {word for phrase in all_phrases() for word in phrase.split()}
    assert 200 < len(words) < 500
    assert len(all_phrases()) > 200


def test_an_adjective_is_left_for_every_aspect_that_one_review_can_judge() -> None:
    most_aspects_judged = 8
    assert all(len(phrases) >= most_aspects_judged for phrases in ADJECTIVES.values())
