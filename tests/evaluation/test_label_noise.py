import math

import pytest
import torch
from torch import Tensor

from preftune.evaluation.label_noise import label_noise


def simulated(num_pairs: int, flip_rate: float, *, seed: int = 0, spread: float = 3.0) -> tuple[Tensor, Tensor]:
    """Margins of labels drawn by Bradley and Terry's model and then flipped, and which are flipped."""
    generator = torch.Generator().manual_seed(seed)
    log_odds = spread * torch.randn(num_pairs, generator=generator, dtype=torch.float64)
    prefers = torch.rand(num_pairs, generator=generator) < torch.sigmoid(log_odds)
    flipped = torch.rand(num_pairs, generator=generator) < flip_rate
    return torch.where(prefers ^ flipped, log_odds, -log_odds), flipped


def test_with_confident_margins_the_flip_rate_is_the_share_of_wrong_signs() -> None:
    noise = label_noise(torch.tensor([50.0] * 17 + [-50.0] * 3), scale=1.0)
    assert noise.flip_rate == pytest.approx(3 / 20, abs=1e-5)
    assert noise.flipped.tolist() == pytest.approx([0.0] * 17 + [1.0] * 3, abs=1e-9)
    assert noise.wrong == pytest.approx(3 / 20)


def test_the_interval_of_a_share_is_that_of_its_likelihood_ratio() -> None:
    noise = label_noise(torch.tensor([50.0] * 90 + [-50.0] * 10), scale=1.0)

    def drop(rate: float) -> float:
        return 90 * math.log(0.9 / (1 - rate)) + 10 * math.log(0.1 / rate)

    assert [drop(end) for end in noise.interval] == pytest.approx([3.8415 / 2] * 2, abs=1e-3)
    assert noise.interval[0] < 0.1 < noise.interval[1]


def test_the_probability_of_a_flip_is_that_of_bayes_rule() -> None:
    margins = torch.tensor([3.0, -4.0, 0.5, -0.5, 6.0, 5.0, 0.0, -6.0], dtype=torch.float64)
    noise = label_noise(margins, scale=0.8)
    flipped = noise.flip_rate * torch.sigmoid(-0.8 * margins)
    kept = (1 - noise.flip_rate) * torch.sigmoid(0.8 * margins)
    torch.testing.assert_close(noise.flipped, flipped / (flipped + kept))


def test_the_flip_rate_is_where_em_comes_to_rest() -> None:
    noise = label_noise(simulated(500, 0.1)[0], scale=1.0)
    assert 0 < noise.flip_rate < 0.5
    assert noise.flipped.mean().item() == pytest.approx(noise.flip_rate, abs=1e-4)


@pytest.mark.parametrize("flip_rate", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("unit", [1.0, 0.01])
def test_a_planted_flip_rate_is_found_for_any_unit_of_the_margins(flip_rate: float, unit: float) -> None:
    margins, flipped = simulated(16_000, flip_rate, spread=4.0)
    noise = label_noise(unit * margins)
    assert noise.interval[0] < flipped.double().mean().item() < noise.interval[1]
    assert noise.flip_rate == pytest.approx(flip_rate, abs=0.02)
    assert noise.scale * unit == pytest.approx(1.0, abs=0.15)


def test_the_interval_holds_the_planted_rate_about_as_often_as_it_says() -> None:
    intervals = [label_noise(simulated(400, 0.1, seed=seed)[0]).interval for seed in range(40)]
    assert sum(low <= 0.1 <= high for low, high in intervals) >= 34


def test_labels_without_flips_have_a_flip_rate_next_to_0() -> None:
    noise = label_noise(simulated(4_000, 0.0)[0])
    assert noise.interval[0] == 0.0
    assert noise.interval[1] < 0.03
    assert label_noise(torch.tensor([1.0, 2.0, 3.0])).flip_rate == 0.0


def test_labels_that_the_model_contradicts_throughout_are_as_good_as_thrown_dice() -> None:
    noise = label_noise(-torch.arange(1.0, 41.0))
    assert noise.flip_rate == pytest.approx(0.5)
    assert noise.interval[1] == 0.5


def test_as_many_flips_are_found_as_are_expected() -> None:
    margins, flipped = simulated(6_000, 0.1)
    noise = label_noise(margins)
    for count in (300, 600, 1_200):
        found = int(flipped[noise.ranking[:count]].sum())
        assert noise.expected_found(count) == pytest.approx(found, rel=0.15)


def test_the_ranking_begins_with_the_lowest_margin_and_keeps_the_order_of_ties() -> None:
    assert label_noise(torch.tensor([1.0, -2.0, 1.0, -5.0])).ranking.tolist() == [3, 1, 0, 2]


def test_the_confusion_curve_counts_what_is_at_least_so_sure() -> None:
    points = label_noise(torch.tensor([1.0, -1.0, 0.0, 2.0, -3.0, 4.0, 5.0, 6.0])).wrong_signs(4)
    assert [(point.threshold, point.num_pairs, point.wrong) for point in points] == [
        (0.0, 8, 2.5 / 8),
        (1.0, 7, 2 / 7),
        (3.0, 4, 1 / 4),
        (5.0, 2, 0.0),
    ]


@pytest.mark.parametrize(
    ("margins", "message"),
    [([], "are empty"), ([1.0, math.nan], "NaN or infinite"), ([0.0, 0.0], "equal to its reference")],
)
def test_margins_that_say_nothing_are_refused(margins: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label_noise(torch.tensor(margins))


def test_a_scale_that_is_not_above_0_is_refused() -> None:
    with pytest.raises(ValueError, match="scale = 0"):
        label_noise(torch.tensor([1.0]), scale=0)
