import math
import random
from statistics import mean

import pytest

from preftune.demo.reviews.world import ReviewWorld, is_held_out
from preftune.errors import DataError

WORLD = ReviewWorld()
GOOD, BAD = " plot was good.", " plot was awful."


def test_the_same_seed_gives_the_same_demonstrations_and_prompts() -> None:
    assert WORLD.demonstrations(30, seed=1) == ReviewWorld().demonstrations(30, seed=1)
    assert WORLD.demonstrations(30, seed=1) != WORLD.demonstrations(30, seed=2)
    assert WORLD.prompts(30, seed=1) == ReviewWorld().prompts(30, seed=1)
    assert WORLD.prompts(30, seed=1) != WORLD.prompts(30, seed=2)


def test_more_prompts_begin_with_the_fewer_ones() -> None:
    assert WORLD.prompts(50, seed=1)[:20] == WORLD.prompts(20, seed=1)


def test_a_demonstration_is_one_completion_with_its_reward() -> None:
    for row, group in enumerate(WORLD.demonstrations(50, seed=3), start=1):
        (completion,) = group.completions
        assert group.pairs == ()
        assert group.origin.row == row
        assert completion.score == WORLD.reward(str(completion.content))


def test_half_of_the_demonstrations_are_positive() -> None:
    rewards = [group.completions[0].score or 0.0 for group in WORLD.demonstrations(4000, seed=4)]
    assert 0.47 < mean(reward > 0 for reward in rewards) < 0.53


def test_there_are_thousands_of_distinct_prompts() -> None:
    assert len(set(WORLD.prompts(20_000, seed=0))) == 20_000
    assert len(set(WORLD.prompts(5_000, seed=0, held_out=True))) == 5_000


def test_held_out_prompts_are_never_trained_on() -> None:
    held_out = set(WORLD.prompts(5_000, seed=0, held_out=True))
    held_out |= {str(group.prompt) for group in WORLD.demonstrations(1_000, seed=0, held_out=True)}
    trained = {str(group.prompt) for group in WORLD.demonstrations(5_000, seed=0)} | set(WORLD.prompts(5_000, seed=0))
    assert not held_out & trained
    assert all(is_held_out(prompt) for prompt in held_out)


def test_the_higher_reward_is_chosen() -> None:
    for a, b, chosen in ((GOOD, BAD, 0), (BAD, GOOD, 1)):
        (pair,) = WORLD.label_pair("The", a, b, random.Random(0)).pairs
        assert pair.chosen == chosen
        assert pair.margin == pytest.approx(WORLD.reward(GOOD) - WORLD.reward(BAD))


def test_noisy_labels_follow_bradley_terry() -> None:
    rng = random.Random(0)
    groups = [WORLD.label_pair("The", GOOD, BAD, rng, temperature=2.0) for _ in range(4000)]
    expected = 1 / (1 + math.exp(-(WORLD.reward(GOOD) - WORLD.reward(BAD)) / 2.0))
    assert mean(group.pairs[0].chosen == 0 for group in groups) == pytest.approx(expected, abs=0.03)
    margins = {round(group.pairs[0].margin or 0.0, 6) for group in groups}
    assert len(margins) == 2
    assert sum(margins) == pytest.approx(0.0)


@pytest.mark.parametrize("temperature", [1e-6, 1e-300])
def test_a_tiny_temperature_is_as_good_as_none(temperature: float) -> None:
    assert WORLD.label_pair("The", BAD, GOOD, random.Random(0), temperature=temperature).pairs[0].chosen == 1


def test_equal_rewards_make_no_pair_unless_noise_decides() -> None:
    a, b = " plot was good.", " plot was solid."
    assert WORLD.label_pair("The", a, b, random.Random(0)).pairs == ()
    assert len(WORLD.label_pair("The", a, b, random.Random(0), temperature=1.0).pairs) == 1


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_equal_texts_make_no_pair(temperature: float) -> None:
    assert WORLD.label_pair("The", GOOD, GOOD, random.Random(0), temperature=temperature).pairs == ()


@pytest.mark.parametrize("temperature", [-1.0, math.nan])
def test_a_temperature_below_zero_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature = "):
        WORLD.label_pair("The", GOOD, BAD, random.Random(0), temperature=temperature)


def test_an_empty_continuation_is_refused() -> None:
    with pytest.raises(DataError, match="empty"):
        WORLD.label_pair("The", "", BAD, random.Random(0))
