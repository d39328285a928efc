import pytest
import torch

from preftune.evaluation.label_check import CheckedPair, LabelCheck
from preftune.evaluation.label_noise import label_noise
from preftune.groups import Origin
from studies.label_noise import Judgement, judgement_of, tables


@pytest.fixture
def judgement() -> Judgement:
    """100 pairs of which each 20th is flipped; the model is right about the 50 with the greatest gap."""
    flipped = torch.arange(100) % 20 == 0
    gap = torch.arange(1.0, 101.0)
    margins = torch.where(flipped, -gap, gap) * torch.where(gap > 50, 1.0, (-1.0) ** torch.arange(100))
    pairs = tuple(CheckedPair(Origin("pairs.jsonl", row)) for row in range(1, 101))
    return judgement_of(LabelCheck("run", pairs, label_noise(margins)), (flipped, gap), epochs=2)


def test_the_area_is_counted_by_quarter_of_the_true_gap(judgement: Judgement) -> None:
    assert [count for count, _ in judgement.area_by_gap] == [25, 25, 25, 25]
    assert [area for _, area in judgement.area_by_gap[2:]] == [1.0, 1.0]
    assert judgement.area_by_gap[0][1] < 1
    assert judgement.gaps[0] == 1.0
    assert judgement.gaps[-1] == 100.0


def test_what_is_found_is_counted_where_the_margins_are_lowest(judgement: Judgement) -> None:
    assert [count for count, _, _ in judgement.found] == [2, 5, 10, 20]
    assert judgement.found[0][2] == 2


def test_the_tables_hold_the_area(judgement: Judgement) -> None:
    assert f"| 100 | 5 | 2 | {judgement.area:.3f} |" in tables([judgement])
