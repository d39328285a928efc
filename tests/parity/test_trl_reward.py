"""Losses of reward models against TRL: its own loss method, run on chosen rewards in float64."""

import warnings
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from preftune.losses import bradley_terry, bradley_terry_margin

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    trl = pytest.importorskip("trl", reason="TRL is not installed, so nothing is compared: pip install -e '.[bench]'")
    RewardTrainer = trl.RewardTrainer

CHOSEN = torch.tensor([1.5, -0.3, 2.0, 0.1], dtype=torch.float64)
REJECTED = torch.tensor([0.5, 0.4, -2.0, 0.1], dtype=torch.float64)
MARGINS = torch.tensor([0.0, 1.0, 3.0, 0.5], dtype=torch.float64)


def trl_loss(centering: float | None, **inputs: Any) -> float:
    """The result of `RewardTrainer.compute_loss` where the model gives these rewards."""
    outputs = SimpleNamespace(logits=torch.cat([CHOSEN, REJECTED])[:, None])

    class Model:
        training = False

        def __call__(self, **_: Any) -> SimpleNamespace:
            return outputs

    model = Model()
    trainer = SimpleNamespace(
        model=model,
        args=SimpleNamespace(center_rewards_coefficient=centering),
        accelerator=SimpleNamespace(gather=lambda values: values, gather_for_metrics=lambda values: values),
        _metrics={"eval": defaultdict(list)},
        _total_train_tokens=0,
    )
    return float(RewardTrainer.compute_loss(trainer, model, dict(inputs)))


@pytest.mark.parametrize("centering", [None, 0.01, 1.0])
def test_pairs(centering: float | None) -> None:
    found = bradley_terry(CHOSEN, REJECTED, centering=centering or 0.0)
    assert found.mean().item() == pytest.approx(trl_loss(centering), abs=1e-12)


@pytest.mark.parametrize("centering", [None, 0.01])
def test_pairs_with_margins(centering: float | None) -> None:
    found = bradley_terry_margin(CHOSEN, REJECTED, MARGINS, centering=centering or 0.0)
    assert found.mean().item() == pytest.approx(trl_loss(centering, margin=MARGINS), abs=1e-12)
