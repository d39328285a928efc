import pytest
import torch

from preftune.losses import LOSSES, ReferencedLogps
from studies.enumerable import World
from studies.enumerable.feedback import Demonstrations, Feedback, Lists, Pairs, Policy, Thumbs

WORLD = World.drawn(num_prompts=2, num_completions=4, seed=3)
REFERENCE = WORLD.reference.exp()
POLICY = Policy(WORLD, (WORLD.reference + WORLD.rewards).log_softmax(-1), with_reference=True)
EVERYTHING: dict[str, Feedback] = {
    "pairs": Pairs.of(WORLD),
    "pairs by score": Pairs.of(WORLD, by_score=True),
    "thumbs": Thumbs.of(WORLD),
    "orders": Lists.of_orders(WORLD),
    "scores": Lists.of_scores(WORLD),
    "demonstrations": Demonstrations.of(WORLD),
}


@pytest.mark.parametrize("name", EVERYTHING)
def test_probabilities_sum_to_one(name: str) -> None:
    assert float(EVERYTHING[name].weights.sum()) == pytest.approx(1, abs=1e-12)


def test_a_pair_is_drawn_from_the_reference_and_judged_by_the_rewards() -> None:
    pairs = Pairs.of(WORLD)
    weights = {
        (int(prompt), int(chosen), int(rejected)): float(weight)
        for prompt, chosen, rejected, weight in zip(
            pairs.prompts, pairs.chosen, pairs.rejected, pairs.weights, strict=True
        )
    }
    assert len(weights) == 2 * 4 * 3
    gap = WORLD.rewards[1, 2] - WORLD.rewards[1, 0]
    assert weights[1, 2, 0] / (weights[1, 2, 0] + weights[1, 0, 2]) == pytest.approx(float(gap.sigmoid()))
    both = [weights[1, i, j] + weights[1, j, i] for i, j in ((2, 0), (3, 1))]
    drawn = [REFERENCE[1, i] * REFERENCE[1, j] for i, j in ((2, 0), (3, 1))]
    assert both[0] / both[1] == pytest.approx(float(drawn[0] / drawn[1]))


def test_pairs_by_score_have_margins_above_zero() -> None:
    pairs = Pairs.of(WORLD, by_score=True)
    assert len(pairs.weights) == 2 * 6
    assert (pairs.margins > 0).all()


def test_thumbs_are_up_with_the_sigmoid_of_the_reward() -> None:
    thumbs = Thumbs.of(WORLD)
    rows = (thumbs.prompts == 1) & (thumbs.completions == 2)
    total = thumbs.weights[rows].sum()
    torch.testing.assert_close(total, REFERENCE[1, 2] / 2)
    torch.testing.assert_close(thumbs.weights[rows & thumbs.desirable].sum() / total, WORLD.rewards[1, 2].sigmoid())


def test_orders_of_a_set_have_the_probabilities_of_plackett_and_luce() -> None:
    lists = Lists.of_orders(WORLD, size=3)
    assert lists.completions.shape == (2 * 4 * 6, 3)
    rows = [index for index, row in enumerate(lists.completions.tolist()) if sorted(row) == [0, 1, 3]][:6]
    share = lists.weights[rows] / lists.weights[rows].sum()
    first, second, third = WORLD.rewards[0, lists.completions[rows[0]]].exp()
    torch.testing.assert_close(share[0], first / (first + second + third) * second / (second + third))


def test_the_mean_mismatched_row_is_the_exact_mean_over_other_prompts() -> None:
    mismatched = Thumbs.of(WORLD).arguments(POLICY)["mismatched"]
    assert isinstance(mismatched, ReferencedLogps)
    logratio = POLICY.logps - WORLD.reference
    expected = (REFERENCE.flip(0) * logratio).sum() / 2  # with two prompts the other one is known
    torch.testing.assert_close(mismatched.logratio, expected[None])


def test_kl_and_alignment_are_those_of_completions_of_one_token() -> None:
    given = Pairs.of(WORLD).arguments(POLICY)
    first = Pairs.of(WORLD)
    prompt, chosen = int(first.prompts[0]), int(first.chosen[0])
    probabilities = POLICY.logps[prompt].exp()
    kl = (REFERENCE[prompt] * (WORLD.reference[prompt] - POLICY.logps[prompt])).sum()
    alignment = POLICY.logps[prompt, chosen] - (probabilities**2).sum().log()
    for name, expected in (("chosen_kl", kl), ("rejected_kl", kl), ("chosen_alignment", alignment)):
        values = given[name]
        assert isinstance(values, torch.Tensor)
        torch.testing.assert_close(values[0], expected)


@pytest.mark.parametrize("kind", [Pairs, Thumbs])
def test_equal_parts_hold_each_row_as_often_as_it_is_likely(kind: type[Pairs] | type[Thumbs]) -> None:
    feedback = kind.of(WORLD)
    parts = feedback.in_equal_parts(500)
    torch.testing.assert_close(parts.weights.sum(), torch.tensor(1.0, dtype=torch.float64))
    for prompt in range(2):
        share = feedback.weights[feedback.prompts == prompt].sum()
        assert float(parts.weights[parts.prompts == prompt].sum()) == pytest.approx(float(share), abs=1 / 500)


def test_every_argument_of_the_table_is_one_that_the_world_can_give() -> None:
    known = {name for feedback in EVERYTHING.values() for name in feedback.arguments(POLICY)} | {"state"}
    assert {name for loss in LOSSES.values() for name in loss.takes} <= known
