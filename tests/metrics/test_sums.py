import pytest
import torch

from preftune.metrics.sums import MetricSums, preference_metrics


def test_means_do_not_depend_on_how_values_were_cut() -> None:
    values = torch.randn(10, dtype=torch.float64)
    whole, parts = MetricSums(), MetricSums()
    whole.add("x", values)
    for part in values.split([1, 6, 3]):
        piece = MetricSums()
        piece.add("x", part)
        parts.merge(piece)
    assert abs(whole.means()["x"] - parts.means()["x"]) < 1e-15


def test_a_weight_of_zero_does_not_count() -> None:
    sums = MetricSums()
    sums.add("x", torch.tensor([3.0]))
    sums.add("x", torch.tensor([100.0]), weight=0.0)
    assert sums.means() == {"x": 3.0}


def test_a_metric_that_counted_nothing_is_left_out() -> None:
    sums = MetricSums()
    sums.add("x", torch.tensor([]))
    assert sums.means() == {}


def test_metrics_carry_no_gradient() -> None:
    sums = MetricSums()
    sums.add("x", torch.ones(2, requires_grad=True))
    assert not sums.sums["x"].requires_grad


def test_accuracy_counts_right_wrong_and_ties_within_rounding() -> None:
    logps = torch.full((5,), -100.0)
    metrics = preference_metrics(
        chosen_logratio=torch.tensor([1.0, -1.0, 0.0, 1e-4, -1e-4]),
        rejected_logratio=torch.zeros(5),
        chosen_logps=logps,
        rejected_logps=logps,
        scale=0.1,
    )
    assert metrics["rewards/accuracies"].tolist() == [1.0, 0.0, 0.5, 0.5, 0.5]


def test_rewards_are_logratios_times_the_scale() -> None:
    metrics = preference_metrics(
        chosen_logratio=torch.tensor([2.0]),
        rejected_logratio=torch.tensor([-1.0]),
        chosen_logps=torch.tensor([-5.0]),
        rejected_logps=torch.tensor([-6.0]),
        scale=0.1,
    )
    rewards = [metrics[f"rewards/{name}"].item() for name in ("chosen", "rejected", "margins")]
    assert rewards == pytest.approx([0.2, -0.1, 0.3])
