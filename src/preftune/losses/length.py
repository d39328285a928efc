"""Losses of pairs that keep the length of an answer out of its reward."""

from torch import Tensor
from torch.nn.functional import logsigmoid

from preftune.errors import Problem
from preftune.losses.logps import ReferencedLogps
from preftune.losses.options import check_beta


def dpo_length_normalized(chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float) -> Tensor:
    """Length-normalized DPO: DPO on logratios per token.

    margin = beta * (chosen.logratio / chosen.num_tokens - rejected.logratio / rejected.num_tokens)
    loss   = -log sigmoid(margin)

    Use it when answers differ much in length and DPO makes them longer. Its beta is not that of DPO: the reward is per
    token, so the same constraint needs a beta that is larger by a factor of about the length of an answer.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat per token of logratio, > 0. Higher keeps the policy closer to the reference.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: beta is not above 0.
    Source: Lambert et al. 2024 (Tulu 3), arXiv:2411.15124, Sec. 5.
    Differs: no. In TRL 1.16 this is `sigmoid_norm`, with DPO's default beta of 0.1.

    >>> import torch
    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> dpo_length_normalized(chosen, rejected, beta=5.0)  # margin = 5 * (1.8 / 12 + 1.3 / 8) = 1.5625
    tensor([0.1903])
    """
    check_beta(beta)
    return -logsigmoid(beta * (chosen.mean_logratio - rejected.mean_logratio))


def rdpo_length(chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float, alpha: float) -> Tensor:
    """Length-regularized DPO (R-DPO): DPO with a length penalty in the reward.

    margin = beta * (chosen.logratio - rejected.logratio) + alpha * (chosen.num_tokens - rejected.num_tokens)
    loss   = -log sigmoid(margin)

    Use it when chosen answers tend to be longer and length should not be rewarded: length explains part of the
    preference, so the policy learns less from pairs whose longer answer was chosen, and more from the others.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        alpha: Length penalty, in reward per token, >= 0. At 0 it is DPO.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Park et al. 2024, arXiv:2403.19159.
    Differs: no. Robust DPO, also called rDPO, is `robust_dpo`.

    >>> import torch
    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> rdpo_length(chosen, rejected, beta=0.1, alpha=0.01)  # margin = 0.31 + 0.01 * (12 - 8) = 0.35
    tensor([0.5334])
    """
    check_beta(beta)
    if not alpha >= 0:
        raise ValueError(Problem("alpha", alpha, "must be at least 0. Below 0 it would reward length."))
    longer = (chosen.num_tokens - rejected.num_tokens).to(chosen.policy.dtype)
    return -logsigmoid(beta * (chosen.logratio - rejected.logratio) + alpha * longer)


def ld_dpo(
    chosen: ReferencedLogps,
    rejected: ReferencedLogps,
    chosen_shared: ReferencedLogps,
    rejected_shared: ReferencedLogps,
    *,
    beta: float,
    alpha: float,
) -> Tensor:
    """Length-desensitized DPO (LD-DPO): tokens beyond the length of the shorter answer count less.

    logratio = shared.logratio + alpha * (whole.logratio - shared.logratio), for chosen and rejected
    loss     = -log sigmoid(beta * (logratio of chosen - logratio of rejected))

    Use it when DPO makes answers longer, and length normalization discards too much of the signal of long answers.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        chosen_shared, rejected_shared: Log-probs of their first tokens alone, as many as the shorter of the two has.
            Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        alpha: Weight of the tokens beyond the shorter answer's length, in [0, 1]. At 1 it is DPO; at 0 they are
            ignored.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Liu et al. 2024, arXiv:2409.06411.
    Differs: no. In TRL 1.16 this is ld_alpha, for policy and reference.

    >>> import torch
    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> first_8 = ReferencedLogps(torch.tensor([-9.0]), torch.tensor([-9.8]), num_tokens=torch.tensor([8]))
    >>> ld_dpo(chosen, rejected, first_8, rejected, beta=0.1, alpha=0.5)  # 0.8 + 0.5 * (1.8 - 0.8) = 1.3: margin 0.26
    tensor([0.5716])
    """
    check_beta(beta)
    if not 0 <= alpha <= 1:
        raise ValueError(
            Problem("alpha", alpha, "must be in [0, 1], the weight of tokens beyond the shorter answer's length.")
        )
    margin = _desensitized(chosen, chosen_shared, alpha) - _desensitized(rejected, rejected_shared, alpha)
    return -logsigmoid(beta * margin)


def _desensitized(whole: ReferencedLogps, shared: ReferencedLogps, alpha: float) -> Tensor:
    return (1 - alpha) * shared.logratio + alpha * whole.logratio
