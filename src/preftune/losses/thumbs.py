"""Losses of single completions that are judged good or bad."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from preftune.errors import Problem
from preftune.losses.anchored import check_shift_decay, reward_shift, updated_reward_shift
from preftune.losses.logps import ReferencedLogps
from preftune.losses.options import check_beta


def kto(
    completions: ReferencedLogps,
    desirable: Tensor,
    mismatched: ReferencedLogps,
    *,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """Kahneman-Tversky Optimization (KTO): maximize the utility of completions to a loss-averse human.

    reward = beta * logratio
    z0     = max(0, mean of beta * mismatched.logratio), without gradient
    value  = desirable_weight * sigmoid(reward - z0)      if desirable
             undesirable_weight * sigmoid(z0 - reward)    if not
    loss   = the value's weight - value

    Use it when there are thumbs instead of pairs, also if one label is more frequent or labels are noisy. Answers whose
    reward is far from z0, on either side, have almost no gradient.

    Args:
        completions: Shape: (completion,). Unit: nats.
        desirable: True for thumbs up, false for thumbs down. Shape: (completion,).
        mismatched: Completions after prompts of other rows, one or more. Shape: (mismatch,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        desirable_weight: Weight and maximum loss of a desirable completion, > 0. See `kto_weight_problem`
            for uneven numbers.
        undesirable_weight: Weight and maximum loss of an undesirable completion, > 0.
    Returns:
        Loss per completion, not reduced, between 0 and its weight. Shape: (completion,). Unit: none.
    Raises:
        ValueError: an option out of its range.
    Source: Ethayarajh et al. 2024, arXiv:2402.01306, Eq. 8 (Eq. 7 of its first version); z0 as estimated in Sec. 4.1.
    Differs: no. The first version of the paper and TRL 1.16 write the equivalent weight * (1 - sigmoid). `mismatched`
        is meant to span the step. In TRL it spans a micro-batch of at least two rows, and z0 is the mean of these means
        over the ranks. beta > 0 may stand inside or outside the maximum.

    >>> import torch
    >>> logps = ReferencedLogps(torch.tensor([-12.0, -7.0]), torch.tensor([-14.0, -8.0]), torch.tensor([12, 8]))
    >>> other = ReferencedLogps(torch.tensor([-30.0, -21.0]), torch.tensor([-31.0, -20.0]), torch.tensor([12, 8]))
    >>> kto(logps, torch.tensor([True, False]), other, beta=0.5)  # z0 = 0; sigmoid(-0.5 * 2), sigmoid(0.5 * 1)
    tensor([0.2689, 0.6225])
    """
    check_beta(beta)
    _check_weights(desirable_weight, undesirable_weight)
    z0 = (beta * mismatched.logratio.mean()).clamp(min=0).detach()
    return _lost_value(beta * completions.logratio - z0, desirable, desirable_weight, undesirable_weight)


def apo_zero_unpaired(
    completions: ReferencedLogps,
    desirable: Tensor,
    *,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """APO-zero for single completions: raise good completions and lower bad ones, relative to the reference.

    reward = beta * logratio
    loss   = desirable_weight * sigmoid(-reward)     if desirable
             undesirable_weight * sigmoid(reward)    if not

    Use it when good answers are better than the model's own, such as a stronger model's, so that their log-probs
    should rise and not only their margins. It is `kto` with z0 = 0.

    Args:
        completions: Shape: (completion,). Unit: nats.
        desirable: True for thumbs up, false for thumbs down. Shape: (completion,).
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        desirable_weight: Weight and maximum loss of a desirable completion, > 0.
        undesirable_weight: Weight and maximum loss of an undesirable completion, > 0.
    Returns:
        Loss per completion, not reduced, between 0 and its weight. Shape: (completion,). Unit: none.
    Raises:
        ValueError: an option out of its range.
    Source: D'Oosterlinck et al. 2024, arXiv:2408.06266, APO-zero; one completion at a time and weighted as in TRL.
    Differs: the paper's loss of a good answer is -sigmoid(reward). This one, as in TRL 1.16, adds 1.

    >>> import torch
    >>> logps = ReferencedLogps(torch.tensor([-12.0, -7.0]), torch.tensor([-14.0, -8.0]), torch.tensor([12, 8]))
    >>> apo_zero_unpaired(logps, torch.tensor([True, False]), beta=0.5)  # sigmoid(-0.5 * 2), sigmoid(0.5 * 1)
    tensor([0.2689, 0.6225])
    """
    check_beta(beta)
    _check_weights(desirable_weight, undesirable_weight)
    return _lost_value(beta * completions.logratio, desirable, desirable_weight, undesirable_weight)


def bco(
    completions: ReferencedLogps, desirable: Tensor, state: Tensor, *, beta: float, shift_decay: float = 1.0
) -> Tensor:
    """Binary Classifier Optimization (BCO): classify completions as good or bad by their implicit reward.

    reward = beta * logratio
    shift  = (mean reward of desirable + mean reward of undesirable) / 2, over the steps so far, without gradient
    loss   = -log sigmoid(reward - shift)     if desirable
             -log sigmoid(shift - reward)     if not

    Use it when there are thumbs instead of pairs and the labels can be trusted: unlike `kto`, it keeps a gradient for
    answers that are far on the wrong side. Steps should contain both labels.

    Args:
        completions: Shape: (completion,). Unit: nats.
        desirable: True for thumbs up, false for thumbs down. Shape: (completion,).
        state: Of the reward shift, from `updated_bco`, this step included. Shape: (2,).
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        shift_decay: Factor of the weight of earlier steps in the shift, per step, in [0, 1]. At 1 it is the mean over
            all.
    Returns:
        Loss per completion, not reduced. Shape: (completion,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Jung et al. 2024, arXiv:2404.04656, Eq. 7 and 8.
    Differs: the paper averages the shift exponentially over steps and does not state the rate; `shift_decay` below 1
        does so too. The mean over the rows of a step weighs desirable and undesirable rows by their numbers, while Eq.
        8 adds their two means: balance the numbers, as the paper does. The importance weights of prompts (UDM) in the
        first version of the paper are not implemented. TRL had BCO up to 1.13; its shift was the mean reward of all
        rows so far, of both kinds.

    >>> import torch
    >>> logps = ReferencedLogps(torch.tensor([-12.0, -7.0]), torch.tensor([-14.0, -8.0]), torch.tensor([12, 8]))
    >>> bco(logps, torch.tensor([True, False]), torch.tensor([1.5, 2.0]), beta=0.5)  # shift = 0.75, rewards 1, 0.5
    tensor([0.5759, 0.5759])
    """
    check_beta(beta)
    check_shift_decay(shift_decay)
    gain = beta * completions.logratio - reward_shift(state)
    return -logsigmoid(torch.where(desirable, gain, -gain))


def updated_bco(
    state: Tensor, completions: ReferencedLogps, desirable: Tensor, *, beta: float, shift_decay: float = 1.0
) -> Tensor:
    """The state of `bco` with one more step: see `updated_reward_shift`.

    Args:
        state: Of the steps so far, zeros before the first. Shape: (2,).
        completions, desirable, beta, shift_decay: Of the step, as in `bco`.
    Returns:
        Without gradient. Shape: (2,).

    >>> logps = ReferencedLogps(torch.tensor([-12.0, -7.0]), torch.tensor([-14.0, -8.0]), torch.tensor([12, 8]))
    >>> updated_bco(torch.zeros(2), logps, torch.tensor([True, False]), beta=0.5)  # 2 * (1 + 0.5) / 2, 2
    tensor([1.5000, 2.0000])
    """
    rewards = beta * completions.logratio
    return updated_reward_shift(state, rewards[desirable], rewards[~desirable], shift_decay=shift_decay)


def kto_weight_problem(
    num_desirable: int, num_undesirable: int, desirable_weight: float, undesirable_weight: float
) -> str | None:
    """The problem with the weights of `kto` for the numbers of a data set; None if there is none.

    ratio = desirable_weight * num_desirable / (undesirable_weight * num_undesirable), recommended: 1 to 1.5

    None as well where one of the kinds is missing, which no weight puts right, and within rounding to one decimal.

    Args:
        num_desirable, num_undesirable: Completions of the data set.
        desirable_weight, undesirable_weight: Of `kto`.
    Source: Ethayarajh et al. 2024, arXiv:2402.01306, Eq. 9: 1 to 3/2; in the first version Eq. 8: 1 to 4/3, as in TRL.

    >>> kto_weight_problem(100, 100, 1.0, 1.0)
    >>> print(kto_weight_problem(50, 500, 1.0, 1.0))
    desirable_weight = 1, undesirable_weight = 1: with 50 desirable and 500 undesirable completions the desirable ones \
weigh 0.1 times the others together, and 1 to 1.5 is recommended for KTO. Set desirable_weight to 10 to 15, or \
undesirable_weight to 0.0667 to 0.1.
    """
    if num_desirable == 0 or num_undesirable == 0:
        return None
    desirable, undesirable = desirable_weight * num_desirable, undesirable_weight * num_undesirable
    least, most = _WEIGHT_RATIO
    if least <= round(desirable / undesirable, 1) <= most:
        return None
    return (
        f"desirable_weight = {desirable_weight:g}, undesirable_weight = {undesirable_weight:g}: with {num_desirable:,} "
        f"desirable and {num_undesirable:,} undesirable completions the desirable ones weigh "
        f"{desirable / undesirable:.3g} times the others together, and {least:g} to {most:g} is recommended for KTO. "
        f"Set desirable_weight to {least * undesirable / num_desirable:.3g} to "
        f"{most * undesirable / num_desirable:.3g}, or undesirable_weight to "
        f"{desirable / most / num_undesirable:.3g} to {desirable / least / num_undesirable:.3g}."
    )


_WEIGHT_RATIO = (1.0, 1.5)


def _lost_value(gain: Tensor, desirable: Tensor, desirable_weight: float, undesirable_weight: float) -> Tensor:
    # weight - weight * sigmoid(x) = weight * sigmoid(-x), which does not round to 0 for large x.
    return torch.where(desirable, desirable_weight * torch.sigmoid(-gain), undesirable_weight * torch.sigmoid(gain))


def _check_weights(desirable_weight: float, undesirable_weight: float) -> None:
    for name, weight in (("desirable_weight", desirable_weight), ("undesirable_weight", undesirable_weight)):
        if not weight > 0:
            raise ValueError(
                Problem(name, weight, "must be above 0. To learn from one kind alone, leave out the other.")
            )
