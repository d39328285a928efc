"""Losses of pairs that need a reference."""

from torch import Tensor
from torch.nn.functional import logsigmoid

from preftune.losses.logps import ReferencedLogps

__all__ = ["dpo"]


def dpo(chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """Direct Preference Optimization: logistic loss on the margin of implicit rewards.

    margin = beta * (chosen.logratio - rejected.logratio)
    loss   = -(1 - label_smoothing) * log sigmoid(margin) - label_smoothing * log sigmoid(-margin)

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        label_smoothing: Probability that a label is flipped, in [0, 0.5).
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Rafailov et al. 2023, arXiv:2305.18290, Eq. 7; smoothing: Mitchell 2023 (cDPO), Eq. 3.
    Differs: no.

    >>> import torch
    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> dpo(chosen, rejected, beta=0.1)  # margin = 0.1 * (1.8 - -1.3) = 0.31, sigmoid(0.31) = 0.5769
    tensor([0.5501])
    """
    if not beta > 0:
        raise ValueError(f"beta = {beta}: must be above 0. The loss would not depend on the policy, or train it away.")
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing = {label_smoothing}: must be in [0, 0.5). From 0.5 on labels say nothing.")
    margin = beta * (chosen.logratio - rejected.logratio)
    return -(1 - label_smoothing) * logsigmoid(margin) - label_smoothing * logsigmoid(-margin)
