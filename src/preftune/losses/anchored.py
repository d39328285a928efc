"""Losses of pairs that compare each implicit reward with a fixed point, not only with the other reward."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from preftune.errors import Problem
from preftune.losses.logps import ReferencedLogps
from preftune.losses.options import check_beta, check_unused


def reward_shift(state: Tensor) -> Tensor:
    """The shift that a state holds; 0 before the first step. Shape: (). Unit: that of rewards.

    >>> reward_shift(torch.tensor([0.5, 2.0]))
    tensor(0.2500)
    """
    return state[0] / state[1].clamp(min=1)


def updated_reward_shift(state: Tensor, desirable: Tensor, undesirable: Tensor, *, shift_decay: float = 1.0) -> Tensor:
    """The state with one more step.

    shift of the step = (mean reward of desirable + mean reward of undesirable) / 2
    state             = shift_decay * state + rows of the step * (shift of the step, 1)

    Without decay, and with as many good as bad completions in each step, this is the sum and the count of all rewards.
    A step that lacks one of the kinds has no shift of its own and leaves the state as it is.

    Args:
        state: Weighted sum of the shifts so far, and of their weights; zeros before the first step. Shape: (2,).
        desirable, undesirable: Implicit rewards of the good and of the bad completions of a step. Shape: (completion,).
        shift_decay: Factor of the weight of the steps so far, in [0, 1].
    Returns:
        Without gradient, of the dtype of `state`. Shape: (2,).
    Source: Jung et al. 2024, arXiv:2404.04656, Eq. 7.

    >>> updated_reward_shift(torch.zeros(2), torch.tensor([0.5, 0.7]), torch.tensor([-0.2]))  # 3 * (0.6 - 0.2) / 2
    tensor([0.6000, 3.0000])
    """
    if len(desirable) == 0 or len(undesirable) == 0:
        return state
    middle = (desirable.detach().to(state.dtype).mean() + undesirable.detach().to(state.dtype).mean()) / 2
    num_rows = len(desirable) + len(undesirable)
    return shift_decay * state + num_rows * torch.stack([middle, torch.ones_like(middle)])


def check_shift_decay(shift_decay: float) -> None:
    """Refuse a decay outside [0, 1]."""
    if not 0 <= shift_decay <= 1:
        raise ValueError(
            Problem("shift_decay", shift_decay, "must be in [0, 1]. Earlier steps would count more, or against.")
        )


def nca_pair(chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float) -> Tensor:
    """Noise Contrastive Alignment (NCA) of pairs: classify answers as the policy's or the reference's.

    reward = beta * logratio
    loss   = -log sigmoid(chosen reward) - (log sigmoid(-chosen reward) + log sigmoid(-rejected reward)) / 2

    Use it when DPO lowers the log-probs of chosen answers too: this loss pulls the reward of a chosen answer to log 2,
    from below and from above, and lowers that of a rejected one.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0; alpha in the paper.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: beta out of its range.
    Source: Chen et al. 2024, arXiv:2402.05369, Sec. 4 (NCA with one chosen and one rejected answer).
    Differs: no.

    >>> import torch
    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> nca_pair(chosen, rejected, beta=0.1)  # rewards 0.18, -0.13: 0.6072 + (0.7872 + 0.6303) / 2
    tensor([1.3159])
    """
    check_beta(beta)
    reward = beta * chosen.logratio
    noise = logsigmoid(-reward) + logsigmoid(-beta * rejected.logratio)
    return -logsigmoid(reward) - 0.5 * noise


def bco_pair(
    chosen: ReferencedLogps,
    rejected: ReferencedLogps,
    state: Tensor,
    *,
    beta: float,
    shift: bool = True,
    shift_decay: float = 1.0,
) -> Tensor:
    """Binary Classifier Optimization (BCO) of pairs: classify answers as chosen or rejected.

    shift = mean reward of all chosen and rejected answers so far, without gradient
    loss  = -log sigmoid(beta * chosen.logratio - shift) - log sigmoid(shift - beta * rejected.logratio)

    Use it when absolute rewards should move, chosen ones up and rejected ones down. The shift keeps the classifier's
    boundary between the two, which makes the loss a close upper bound of DPO's.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        state: Of the reward shift, from `updated_bco_pair`, this step included. Shape: (2,).
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        shift: Subtract the running mean reward. If false, the shift is 0 and the boundary is the reference.
        shift_decay: Factor of the weight of earlier steps in the shift, per step, in [0, 1]. At 1 it is the mean over
            all.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Jung et al. 2024, arXiv:2404.04656, Eq. 7 and 8, with one rejected answer to each chosen one.
    Differs: the paper averages the shift exponentially over steps and does not state the rate; `shift_decay` below 1
        does so too. TRL 1.16's `bco_pair` has no shift (shift = false). LLaMA-Factory averages the means of
        micro-batches.

    >>> import torch
    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> state = torch.tensor([0.05, 2.0])  # the rewards 0.18 and -0.13 of this step, the first
    >>> bco_pair(chosen, rejected, state, beta=0.1)  # shift 0.025: -log sigmoid(0.155) twice
    tensor([1.2373])
    >>> bco_pair(chosen, rejected, state, beta=0.1, shift=False)  # -log sigmoid(0.18) - log sigmoid(0.13)
    tensor([1.2374])
    """
    check_beta(beta)
    check_shift_decay(shift_decay)
    if not shift:
        check_unused("shift_decay", shift_decay, default=1.0, needs="shift = true")
    middle = reward_shift(state) if shift else 0.0
    return -logsigmoid(beta * chosen.logratio - middle) - logsigmoid(middle - beta * rejected.logratio)


def updated_bco_pair(
    state: Tensor,
    chosen: ReferencedLogps,
    rejected: ReferencedLogps,
    *,
    beta: float,
    shift: bool = True,
    shift_decay: float = 1.0,
) -> Tensor:
    """The state of `bco_pair` with one more step: see `updated_reward_shift`. Without a shift it stays as it is.

    Args:
        state: Of the steps so far, zeros before the first. Shape: (2,).
        chosen, rejected, beta, shift, shift_decay: Of the step, as in `bco_pair`.
    Returns:
        Without gradient. Shape: (2,).

    >>> import torch
    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> updated_bco_pair(torch.zeros(2), chosen, rejected, beta=0.1)  # 0.18 - 0.13, 2
    tensor([0.0500, 2.0000])
    """
    if not shift:
        return state
    return updated_reward_shift(state, beta * chosen.logratio, beta * rejected.logratio, shift_decay=shift_decay)


def sppo_hard(chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float) -> Tensor:
    """Self-Play Preference Optimization (SPPO) with hard labels: regression of both logratios to targets.

    loss = (chosen.logratio - 1 / (2 * beta))^2 + (rejected.logratio + 1 / (2 * beta))^2

    Use it when both answers are samples of the reference, in rounds: the policy of a round is the reference of the
    next.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0; 1 / eta of the paper. The targets are rewards of 1/2 and -1/2.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats^2.
    Raises:
        ValueError: beta out of its range.
    Source: Wu et al. 2024, arXiv:2405.00675, the loss of a pair in the comparison with DPO and IPO, at P = 1 and 0.
    Differs: the paper estimates P, the probability that an answer wins, by PairRM over several answers. Here, as in TRL
        1.16 under this name, P is 1 or 0 by the label. The authors' code halves the sum.

    >>> import torch
    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> sppo_hard(chosen, rejected, beta=0.1)  # (1.8 - 5)^2 + (-1.3 + 5)^2 = 10.24 + 13.69
    tensor([23.9300])
    """
    check_beta(beta)
    target = 1 / (2 * beta)
    return (chosen.logratio - target) ** 2 + (rejected.logratio + target) ** 2


def apo_zero(chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float) -> Tensor:
    """Anchored Preference Optimization (APO-zero): make chosen answers more likely, rejected ones less likely.

    loss = -sigmoid(beta * chosen.logratio) + sigmoid(beta * rejected.logratio)

    Use it when the chosen answers are better than what the model writes. If they are worse, use apo_down.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
    Returns:
        Loss per pair, not reduced, in (-1, 1); 0 at the start. Shape: (pair,). No unit.
    Raises:
        ValueError: beta out of its range.
    Source: D'Oosterlinck et al. 2024, arXiv:2408.06266, Eq. 7.
    Differs: no. TRL 1.16 adds the constant 1.

    >>> import torch
    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> apo_zero(chosen, rejected, beta=0.1)  # -sigmoid(0.18) + sigmoid(-0.13) = -0.5449 + 0.4675
    tensor([-0.0773])
    """
    check_beta(beta)
    return (beta * rejected.logratio).sigmoid() - (beta * chosen.logratio).sigmoid()


def apo_down(chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float) -> Tensor:
    """Anchored Preference Optimization (APO-down): make both answers less likely, rejected ones more so.

    loss = sigmoid(beta * chosen.logratio) - sigmoid(beta * (chosen.logratio - rejected.logratio))

    Use it when even the chosen answers are worse than what the model writes. If they are better, use apo_zero.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
    Returns:
        Loss per pair, not reduced, in (-1, 1); 0 at the start. Shape: (pair,). No unit.
    Raises:
        ValueError: beta out of its range.
    Source: D'Oosterlinck et al. 2024, arXiv:2408.06266, Eq. 8.
    Differs: no. TRL 1.16 adds the constant 1.

    >>> import torch
    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> apo_down(chosen, rejected, beta=0.1)  # sigmoid(0.18) - sigmoid(0.31) = 0.5449 - 0.5769
    tensor([-0.0320])
    """
    check_beta(beta)
    return (beta * chosen.logratio).sigmoid() - (beta * (chosen.logratio - rejected.logratio)).sigmoid()
