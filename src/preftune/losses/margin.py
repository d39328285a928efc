"""Losses of the margin of implicit rewards that are not logistic."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from preftune.losses.logps import ReferencedLogps
from preftune.losses.options import check_beta

__all__ = ["discopop", "exo_pair"]


def exo_pair(
    chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float, label_smoothing: float = 1e-3
) -> Tensor:
    """Efficient Exact Optimization of pairs: reverse KL from the policy's preference to the labels.

    margin = beta * (chosen.logratio - rejected.logratio)
    p      = sigmoid(margin)
    loss   = p * log(p / (1 - label_smoothing)) + (1 - p) * log((1 - p) / label_smoothing)

    Use it when the policy should settle on the best answers instead of covering all: DPO is the forward KL of the
    same two distributions. The loss is least, 0, at the margin log((1 - label_smoothing) / label_smoothing), not at
    infinity, and it saturates for pairs that are far wrong.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        label_smoothing: Probability that a label is flipped, epsilon in the paper, in (0, 0.5). At 0 the labels rule
            the rejected answer out, and the KL to them is infinite for every policy.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Ji et al. 2024, arXiv:2402.00856, Eq. 16.
    Differs: no. The authors' code takes log(1 - epsilon) = 0 and log(epsilon) = -10. TRL 1.16 has this formula.

    >>> import torch
    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> exo_pair(chosen, rejected, beta=0.1)  # p = 0.5769: 0.5769 * log(0.5769 / 0.999) + 0.4231 * log(0.4231 / 0.001)
    tensor([2.2421])
    """
    check_beta(beta)
    if not 0 < label_smoothing < 0.5:
        raise ValueError(f"label_smoothing = {label_smoothing}: must be in (0, 0.5). At 0 the loss is infinite.")
    margin = beta * (chosen.logratio - rejected.logratio)
    kept = logsigmoid(margin) - math.log1p(-label_smoothing)
    flipped = logsigmoid(-margin) - math.log(label_smoothing)
    return margin.sigmoid() * kept + (-margin).sigmoid() * flipped


def discopop(chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float, tau: float = 0.05) -> Tensor:
    """DiscoPOP, the log-ratio modulated loss: logistic below a margin of 0, exponential above.

    margin = beta * (chosen.logratio - rejected.logratio)
    m      = sigmoid(margin / tau)
    loss   = -(1 - m) * log sigmoid(margin) + m * exp(-margin)

    Use it when you want the loss that a search by language models found best. Around a margin of 0, which is where a
    run starts, it rises with the margin if tau is small: the first steps may lower margins.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        tau: Width of the change from one loss to the other, in (0, 1]. Unit: of the margin.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Lu et al. 2024, arXiv:2406.08414, Eq. 5.
    Differs: no. exp(-margin) is taken in the exponent with m, exactly: by itself it overflows from margin = -88 on in
        float32, so that TRL 1.16, which computes the factors one by one, gives 0 * inf = nan there.

    >>> import torch
    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> discopop(chosen, rejected, beta=0.1)  # margin 0.31, m = 0.99797: 0.00203 * 0.5501 + 0.99797 * 0.7334
    tensor([0.7331])
    """
    check_beta(beta)
    if not 0 < tau <= 1:
        raise ValueError(f"tau = {tau}: must be in (0, 1]. Above 1 the loss of a wrong pair grows exponentially.")
    margin = beta * (chosen.logratio - rejected.logratio)
    exponential = torch.exp(logsigmoid(margin / tau) - margin)
    return exponential - (-margin / tau).sigmoid() * logsigmoid(margin)
