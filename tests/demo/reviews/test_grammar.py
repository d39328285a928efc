import random
from statistics import mean

from preftune.demo.reviews.derivation import Sentiment
from preftune.demo.reviews.grammar import MAX_JUDGEMENTS, Review, ReviewGrammar
from preftune.demo.reviews.reward import SentimentReward


def reviews(n: int, seed: int = 0) -> list[Review]:
    rng = random.Random(seed)
    return [ReviewGrammar().sample(rng) for _ in range(n)]


def test_the_same_seed_gives_the_same_reviews() -> None:
    assert reviews(20) == reviews(20)
    assert reviews(20) != reviews(20, seed=1)


def test_a_continuation_starts_within_a_sentence_and_ends_one() -> None:
    for review in reviews(500):
        assert review.prompt.endswith((" The", " the"))
        assert review.continuation[0] == " "
        assert review.continuation[1:2].islower()
        assert review.continuation.endswith(".")
        assert "  " not in review.prompt + review.continuation
        assert "{" not in review.continuation


def test_reviews_vary_in_length() -> None:
    lengths = sorted(len(review.continuation.split()) for review in reviews(2000))
    assert 25 < mean(lengths) < 32
    assert lengths[100] < 16
    assert lengths[-100] > 42
    assert lengths[-1] < 80


def test_prompts_judge_nothing() -> None:
    reward = SentimentReward()
    assert not any(reward.explain(review.prompt) for review in reviews(2000))


def test_a_review_judges_at_least_once_and_never_the_same_way_twice() -> None:
    for review in reviews(2000):
        phrases = [judgement.phrase for judgement in review.judgements]
        assert 1 <= len(phrases) <= MAX_JUDGEMENTS
        assert len(set(phrases)) == len(phrases)


def test_many_reviews_are_mixed() -> None:
    signs = [{judgement.degree.value[0] for judgement in review.judgements} for review in reviews(2000)]
    assert 0.5 < mean("+" in review and "-" in review for review in signs) < 0.8


def test_contrast_has_a_connective_of_contrast() -> None:
    for review in reviews(500):
        for sentence in review.continuation.split("."):
            if sentence.startswith(" Although "):
                first, second = sentence.split(", ")
                reward = SentimentReward()
                assert reward(first) * reward(second) < 0


def test_half_a_review_does_not_determine_the_rest() -> None:
    reward = SentimentReward()
    agreements = []
    for review in reviews(2000):
        words = review.continuation.split()
        first, second = " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])
        agreements.append((reward(first) > 0) == (reward(second) > 0))
    assert 0.55 < mean(agreements) < 0.75


def test_half_of_the_reviews_are_positive() -> None:
    sample = reviews(5000)
    assert 0.47 < mean(review.sentiment is Sentiment.POSITIVE for review in sample) < 0.53
    assert 0.47 < mean(SentimentReward()(review.continuation) > 0 for review in sample) < 0.53
