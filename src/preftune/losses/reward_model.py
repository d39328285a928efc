"""Losses of reward models: of the rewards that a model with one output gives, not of log-probs."""

from torch import Tensor
from torch.nn.functional import logsigmoid

from preftune.errors import Problem
from preftune.losses.lists import order_loss, sum_by
from preftune.losses.options import check_label_smoothing


def bradley_terry(
    chosen_rewards: Tensor, rejected_rewards: Tensor, *, label_smoothing: float = 0.0, centering: float = 0.0
) -> Tensor:
    """Reward model of pairs: negative log-likelihood of the labels under the Bradley-Terry model.

    margin = chosen reward - rejected reward
    loss   = -(1 - label_smoothing) * log sigmoid(margin) - label_smoothing * log sigmoid(-margin)
             + centering * (chosen reward + rejected reward)^2

    Use it for the reward that PPO, best-of-N or a judge needs.

    Args:
        chosen_rewards, rejected_rewards: Row i of both is pair i. Shape: (pair,).
        label_smoothing: Probability that a label is flipped, in [0, 0.5).
        centering: Weight of the square of the sum of both rewards, >= 0. Pairs leave the mean reward open; above 0
            it is drawn to 0.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Ouyang et al. 2022, arXiv:2203.02155, Eq. 1; centering: Eisenstein et al. 2023, arXiv:2312.09244, Eq. 4.
    Differs: no. `centering` is `center_rewards_coefficient` in TRL 1.16, which has no label_smoothing.

    >>> import torch
    >>> bradley_terry(torch.tensor([1.5]), torch.tensor([0.5]), centering=0.01)  # -log sigmoid(1) + 0.01 * 2^2
    tensor([0.3533])
    """
    check_label_smoothing(label_smoothing)
    _check_centering(centering)
    margin = chosen_rewards - rejected_rewards
    preference = -(1 - label_smoothing) * logsigmoid(margin) - label_smoothing * logsigmoid(-margin)
    return preference + centering * (chosen_rewards + rejected_rewards).square()


def bradley_terry_margin(
    chosen_rewards: Tensor, rejected_rewards: Tensor, margins: Tensor, *, centering: float = 0.0
) -> Tensor:
    """Reward model of pairs with a margin: the rewards must differ by how much better the chosen answer is.

    loss = -log sigmoid(chosen reward - rejected reward - margin) + centering * (chosen reward + rejected reward)^2

    Use it when the data say by how much the chosen answer is better, such as "slightly" or "significantly".

    Args:
        chosen_rewards, rejected_rewards: Row i of both is pair i. Shape: (pair,).
        margins: Least difference of the rewards, on the scale of the data. Shape: (pair,).
        centering: Weight of the square of the sum of both rewards, >= 0.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Touvron et al. 2023, arXiv:2307.09288, Eq. 2; centering: Eisenstein et al. 2023, arXiv:2312.09244, Eq. 4.
    Differs: no.

    >>> import torch
    >>> bradley_terry_margin(torch.tensor([1.5]), torch.tensor([0.5]), torch.tensor([1.0]))  # -log sigmoid(0)
    tensor([0.6931])
    """
    _check_centering(centering)
    preference = -logsigmoid(chosen_rewards - rejected_rewards - margins)
    return preference + centering * (chosen_rewards + rejected_rewards).square()


def plackett_luce_rewards(rewards: Tensor, scores: Tensor, prompts: Tensor, *, centering: float = 0.0) -> Tensor:
    """Reward model of rankings: negative log-likelihood of the order of a list under the Plackett-Luce model.

    loss = sum over completions i of the prompt of
           log(exp(reward_i) + sum over those with a lower score than i of exp(reward)) - reward_i
           + centering * (2 * mean reward of the prompt)^2

    Use it when several answers of a prompt are ranked. With two answers it is `bradley_terry`.

    Args:
        rewards: Shape: (completion,).
        scores: Higher is better; only their order counts. Shape: (completion,).
        prompts: Index of the prompt that a completion answers, counted from 0 without a gap. Shape: (completion,).
        centering: Weight of the square of twice the mean reward, >= 0.
    Returns:
        Loss per prompt, not reduced. Shape: (prompt,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Plackett-Luce as in Rafailov et al. 2023, arXiv:2305.18290, App. A.3, Eq. 18, with rewards of a model.
    Differs: completions of equal score are not compared, as in `plackett_luce`.

    >>> import torch
    >>> rewards, prompts = torch.tensor([1.0, 0.0, -0.5]), torch.tensor([0, 0, 0])
    >>> plackett_luce_rewards(rewards, torch.tensor([7.0, 5.0, 5.0]), prompts)  # log(e + 1 + e^-.5) - 1
    tensor([0.4644])
    """
    _check_centering(centering)
    sizes = sum_by(prompts, rewards.new_ones(rewards.shape))
    return order_loss(rewards, scores, prompts) + centering * (2 * sum_by(prompts, rewards) / sizes).square()


def _check_centering(centering: float) -> None:
    if not centering >= 0:
        raise ValueError(Problem("centering", centering, "must be at least 0. Below, rewards grow without bound."))
