import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preftune.demo.reviews.derivation import Degree, Derivation, Sentiment
from preftune.demo.reviews.grammar import MAX_JUDGEMENTS, ReviewGrammar
from preftune.demo.reviews.lexicon import RATINGS, all_phrases
from preftune.demo.reviews.reward import LOG_ODDS, SentimentReward

REWARD = SentimentReward()
BOUND = MAX_JUDGEMENTS * max(abs(log_odds) for log_odds in LOG_ODDS.values())


def phrases(text: str) -> list[str]:
    return [contribution.phrase for contribution in REWARD.explain(text)]


def test_reward_of_a_review_is_the_log_odds_of_its_derivation() -> None:
    rng = random.Random(0)
    for _ in range(5000):
        review = ReviewGrammar().sample(rng)
        log_odds = review.logps[Sentiment.POSITIVE] - review.logps[Sentiment.NEGATIVE]
        assert REWARD(review.continuation) == pytest.approx(log_odds, abs=1e-9)
        assert REWARD(review.prompt + review.continuation) == pytest.approx(log_odds, abs=1e-9)


def test_the_phrases_found_in_a_review_are_those_that_were_written() -> None:
    rng = random.Random(1)
    for _ in range(2000):
        review = ReviewGrammar().sample(rng)
        assert phrases(review.continuation) == [judgement.phrase for judgement in review.judgements]


def test_reward_predicts_the_sentiment_as_often_as_its_log_odds_promise() -> None:
    rng = random.Random(2)
    promised, kept = [], []
    for _ in range(5000):
        review = ReviewGrammar().sample(rng)
        positive = 1 / (1 + math.exp(-REWARD(review.continuation)))
        promised.append(positive)
        kept.append(review.sentiment is Sentiment.POSITIVE)
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = [index for index, probability in enumerate(promised) if low <= probability < low + 0.2]
        share = sum(kept[index] for index in inside) / len(inside)
        assert share == pytest.approx(sum(promised[index] for index in inside) / len(inside), abs=0.06)


def test_a_derivation_is_as_probable_as_the_product_of_its_choices() -> None:
    derivation = Derivation(random.Random(0), Sentiment.POSITIVE)
    derivation.choose("abcd")
    derivation.draw([1, 2])
    assert derivation.logps == dict.fromkeys(Sentiment, pytest.approx(math.log(1 / 8)))
    stars = derivation.judge(RATINGS)
    gap = derivation.logps[Sentiment.POSITIVE] - derivation.logps[Sentiment.NEGATIVE]
    assert gap == pytest.approx(LOG_ODDS[stars.degree])


def test_degrees_are_worth_their_log_odds() -> None:
    assert REWARD("superb") == pytest.approx(math.log(0.30 / 0.05))
    assert REWARD("solid") == pytest.approx(math.log(0.34 / 0.14))
    assert REWARD("passable") == pytest.approx(math.log(0.14 / 0.16))
    assert REWARD("weak") == pytest.approx(math.log(0.16 / 0.36))
    assert REWARD("awful") == pytest.approx(math.log(0.06 / 0.29))


def test_the_longest_phrase_is_the_one_that_counts() -> None:
    assert phrases("It was never dull and neither good nor bad") == ["never dull", "neither good nor bad"]


def test_case_and_spacing_do_not_matter() -> None:
    assert phrases("NEVER   Dull") == ["never dull"]


def test_a_phrase_does_not_reach_over_punctuation() -> None:
    assert phrases("never. dull") == ["dull"]


def test_an_unfinished_sentence_counts_by_the_words_that_are_there() -> None:
    assert phrases(" plot was superb. The acting was not very go") == ["superb"]
    assert phrases(" plot was superb. The acting was bril") == ["superb"]


@pytest.mark.parametrize("text", ["", " ", "...", "日本語 ☃", "goodness gracious", "supergood", "one two three"])
def test_text_without_a_known_phrase_is_worth_nothing(text: str) -> None:
    assert REWARD(text) == 0.0


def test_repetition_gains_nothing() -> None:
    assert REWARD(" plot was superb." * 50) == REWARD(" plot was superb.")


def test_a_list_of_adjectives_counts_as_one_sentence() -> None:
    raves = [phrase for phrase, degree in all_phrases().items() if degree is Degree.RAVE]
    assert REWARD(" ".join(raves)) == REWARD(", ".join(raves)) == pytest.approx(2 * LOG_ODDS[Degree.RAVE])


def test_a_long_text_gains_no_more_than_the_longest_of_the_grammar() -> None:
    raves = [phrase for phrase, degree in all_phrases().items() if degree is Degree.RAVE]
    assert REWARD(". ".join(raves)) == pytest.approx(MAX_JUDGEMENTS * LOG_ODDS[Degree.RAVE])


@given(st.lists(st.sampled_from([*all_phrases(), "the", "plot", ",", ".", "never", "not"]), max_size=60))
def test_reward_is_bounded_and_the_sum_of_its_contributions(words: list[str]) -> None:
    text = " ".join(words)
    contributions = REWARD.explain(text)
    assert abs(REWARD(text)) <= BOUND + 1e-9
    assert REWARD(text) == pytest.approx(sum(contribution.log_odds for contribution in contributions))
    assert len(contributions) <= MAX_JUDGEMENTS


@given(st.text(max_size=200))
def test_any_text_has_a_reward(text: str) -> None:
    assert math.isfinite(REWARD(text))
