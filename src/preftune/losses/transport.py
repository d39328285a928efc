"""Losses that compare whole distributions over a step, by optimal transport."""

from torch import Tensor

from preftune.losses.logps import ReferencedLogps
from preftune.losses.options import check_beta
from preftune.losses.pairwise import logistic

__all__ = ["aot", "aot_unpaired"]


def aot(chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """Alignment via Optimal Transport, paired: the policy's margins are to dominate the reference's.

    u = chosen.policy - rejected.policy, v = chosen.reference - rejected.reference
    margin_i = beta * (u_i - the v of the same rank as u_i)
    loss     = -(1 - label_smoothing) * log sigmoid(margin) - label_smoothing * log sigmoid(-margin)

    Use it when the whole range of preferences should move up, not each pair by itself; give it large steps. The
    margins of a step are sorted, so that the least under the policy is compared with the least under the reference.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        label_smoothing: Probability that a label is flipped, in [0, 0.5).
    Returns:
        Loss of the pair whose u_i it is, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Melnyk et al. 2024, arXiv:2406.05882, Sec. 3 (paired); label smoothing as in the authors' code, in TRL.
    Differs: sorts over the step, over all ranks. TRL 1.16 sorts within each micro-batch of a rank: with one pair in
        each its `aot` is DPO.

    >>> import torch
    >>> count = torch.tensor([8, 8])
    >>> chosen = ReferencedLogps(torch.tensor([-3.0, -9.0]), torch.tensor([-7.0, -4.0]), count)  # u = 1, -4
    >>> rejected = ReferencedLogps(torch.tensor([-4.0, -5.0]), torch.tensor([-5.0, -6.0]), count)  # v = -2, 2
    >>> aot(chosen, rejected, beta=0.1)  # margins: 0.1 * (1 - 2) and 0.1 * (-4 - -2)
    tensor([0.7444, 0.7981])
    """
    check_beta(beta)
    policy, reference = chosen.policy - rejected.policy, chosen.reference - rejected.reference
    return logistic(beta * (policy - _ranked_as(policy, reference)), label_smoothing=label_smoothing)


def aot_unpaired(
    chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float, label_smoothing: float = 0.0
) -> Tensor:
    """Alignment via Optimal Transport, unpaired: rewards of chosen answers are to dominate those of rejected ones.

    margin_i = beta * (chosen.logratio_i - the rejected.logratio of the same rank as chosen.logratio_i)
    loss     = -(1 - label_smoothing) * log sigmoid(margin) - label_smoothing * log sigmoid(-margin)

    Use it when chosen and rejected answers were not written for the same prompts; give it large steps. The logratios
    of a step are sorted, so that the least of the chosen is compared with the least of the rejected.

    Args:
        chosen, rejected: As many of both; which is in which row does not matter. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        label_smoothing: Probability that a label is flipped, in [0, 0.5).
    Returns:
        Loss of the row whose chosen answer it is, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Melnyk et al. 2024, arXiv:2406.05882, Sec. 3 (unpaired); label smoothing as in the authors' code, in TRL.
    Differs: sorts over the step, over all ranks. TRL 1.16 sorts within each micro-batch of a rank; its older releases
        call this one `aot_pair`.

    >>> import torch
    >>> zeros, count = torch.zeros(2), torch.tensor([8, 8])
    >>> chosen = ReferencedLogps(torch.tensor([1.0, -4.0]), zeros, count)
    >>> rejected = ReferencedLogps(torch.tensor([-2.0, 2.0]), zeros, count)
    >>> aot_unpaired(chosen, rejected, beta=0.1)  # margins: 0.1 * (1 - 2) and 0.1 * (-4 - -2)
    tensor([0.7444, 0.7981])
    """
    check_beta(beta)
    margin = beta * (chosen.logratio - _ranked_as(chosen.logratio, rejected.logratio))
    return logistic(margin, label_smoothing=label_smoothing)


def _ranked_as(order: Tensor, values: Tensor) -> Tensor:
    """The values, permuted so that row i has the same rank among them as in `order`.

    >>> import torch
    >>> _ranked_as(torch.tensor([5, 3, 4]), torch.tensor([10, 20, 30]))
    tensor([30, 10, 20])
    """
    ranks = order.argsort(stable=True).argsort()
    return values.sort().values[ranks]
