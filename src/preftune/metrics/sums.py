"""Sums and counts of metrics, so that means over any division into micro-batches are exact."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

ROUNDING = 1e-6
"""Rounding error of a difference of log-probs, as a share of them: what is within it is no difference."""
_SQUARES = "squares/"
_PRODUCTS = ("total-total", "total-size", "size-size")


@dataclass(slots=True)
class MetricSums:
    """Sums and counts by name; the mean of a metric does not depend on the division into micro-batches.

    >>> sums = MetricSums()
    >>> sums.add("loss", torch.tensor([1.0, 2.0]))
    >>> sums.add("loss", torch.tensor([6.0]))
    >>> sums.means()
    {'loss': 3.0}
    """

    sums: dict[str, Tensor] = field(default_factory=dict)
    """Sum and count per metric. Shape of each: (2,), float64."""

    def add(self, name: str, values: Tensor, count: float | Tensor | None = None, weight: float = 1.0) -> None:
        """Add `values`, counted as `count` of them (default: their number), all times `weight`."""
        if count is None:
            count = values.numel()
        number = count.detach().double() if isinstance(count, Tensor) else values.new_tensor(count, dtype=torch.float64)
        total = torch.stack([values.detach().double().sum(), number]) * weight
        self.sums[name] = self.sums[name] + total if name in self.sums else total

    def merge(self, other: "MetricSums") -> None:
        """Add all of `other`'s sums and counts."""
        for name, total in other.sums.items():
            self.sums[name] = self.sums[name] + total if name in self.sums else total

    def means(self) -> dict[str, float]:
        """Mean per metric, without metrics of count 0."""
        if not self.sums:
            return {}
        table = torch.stack(list(self.sums.values())).tolist()
        return {name: total / count for name, (total, count) in zip(self.sums, table, strict=True) if count}


def add_squares(sums: MetricSums, name: str, values: Tensor, clusters: Tensor, *, weight: float) -> None:
    """Add what `standard_errors` needs: squares and products of the sum and the size of each cluster.

    Args:
        name: Metric whose values they are; its mean is added by itself.
        values: Shape: (row,).
        clusters: Cluster of each row, a small integer; no cluster is divided between calls. Shape: (row,), int.
    """
    num_clusters = int(clusters.max()) + 1 if len(clusters) else 0
    wide = values.detach().double()
    totals = wide.new_zeros(num_clusters).index_add(0, clusters, wide)
    sizes = wide.new_zeros(num_clusters).index_add(0, clusters, torch.ones_like(wide))
    for product, found in zip(_PRODUCTS, (totals * totals, totals * sizes, sizes * sizes), strict=True):
        sums.add(f"{_SQUARES}{name}/{product}", found, count=float((sizes > 0).sum()), weight=weight)


def standard_errors(sums: MetricSums) -> dict[str, float]:
    """Standard error of each mean with squares, by name; none for a single cluster.

    error^2 = G / (G - 1) * sum over clusters of (total - mean * size)^2 / (number of rows)^2, for G clusters

    >>> sums = MetricSums()
    >>> values, clusters = torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([0, 0, 1, 2])
    >>> sums.add("accuracy", values); add_squares(sums, "accuracy", values, clusters, weight=1.0)
    >>> standard_errors(sums)  # mean 1/2; totals minus mean * size: 1, -1/2, -1/2; sqrt(3/2 * 3/2 / 16)
    {'accuracy': 0.375}
    """
    found = {}
    for key in sums.sums:
        name = key.removeprefix(_SQUARES).removesuffix(f"/{_PRODUCTS[0]}")
        if key != f"{_SQUARES}{name}/{_PRODUCTS[0]}" or name not in sums.sums:
            continue
        total, num_rows = sums.sums[name].tolist()
        squares, products, sizes = (sums.sums[f"{_SQUARES}{name}/{product}"][0].item() for product in _PRODUCTS)
        num_clusters = sums.sums[key][1].item()
        if num_clusters > 1:
            mean = total / num_rows
            spread = max(squares - 2 * mean * products + mean * mean * sizes, 0.0)
            found[name] = math.sqrt(num_clusters / (num_clusters - 1) * spread) / num_rows
    return found


def without_squares(means: Mapping[str, float]) -> dict[str, float]:
    """The means of metrics, without those of squares."""
    return {name: value for name, value in means.items() if not name.startswith(_SQUARES)}


def is_tie(margin: Tensor, chosen_logps: Tensor, rejected_logps: Tensor) -> Tensor:
    """True for margins within the rounding error of the log-probs that they are made of. Shape: (pair,).

    >>> is_tie(torch.tensor([1e-5, 1e-3]), torch.tensor([-90.0, -90.0]), torch.tensor([-70.0, -70.0]))
    tensor([ True, False])
    """
    return margin.abs() <= ROUNDING * (chosen_logps.abs() + rejected_logps.abs())


def preference_metrics(
    *, chosen_logratio: Tensor, rejected_logratio: Tensor, chosen_logps: Tensor, rejected_logps: Tensor, scale: float
) -> Mapping[str, Tensor]:
    """The metrics of pairs, under the names that users of TRL know.

    Args:
        chosen_logratio, rejected_logratio: Policy minus reference log-probs. Shape: (pair,). Unit: nats.
        chosen_logps, rejected_logps: Log-probs under the policy. Shape: (pair,). Unit: nats.
        scale: Implicit reward per nat of logratio.
    Returns:
        Value per pair and metric. Shape of each: (pair,).
    Differs: a margin of 0, or within the rounding error of the log-probs (1e-6 of them), counts as half correct in
        `rewards/accuracies`. TRL counts 0 as wrong and takes the sign of rounding errors, so a policy equal to its
        reference reads as worse than chance, or random.

    >>> one = torch.tensor([1.0])
    >>> metrics = preference_metrics(
    ...     chosen_logratio=one, rejected_logratio=-one, chosen_logps=-9 * one, rejected_logps=-7 * one, scale=0.5
    ... )
    >>> metrics["rewards/margins"].item(), metrics["rewards/accuracies"].item()
    (1.0, 1.0)
    """
    margin = chosen_logratio - rejected_logratio
    accuracy = torch.where(is_tie(margin, chosen_logps, rejected_logps), 0.5, (margin > 0).to(margin.dtype))
    return {
        "rewards/chosen": scale * chosen_logratio,
        "rewards/rejected": scale * rejected_logratio,
        "rewards/margins": scale * margin,
        "rewards/accuracies": accuracy,
        "logps/chosen": chosen_logps,
        "logps/rejected": rejected_logps,
    }
