"""Losses of pairs with a reference, as functions of the margin of implicit rewards."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from preftune.errors import Problem
from preftune.losses.logps import ReferencedLogps
from preftune.losses.options import check_beta, check_label_smoothing, check_unused, check_word

Divergence = Literal["reverse_kl", "forward_kl", "js", "alpha"]

_ANY_ALPHA = 0.5
_LARGEST_EXPONENT = 60.0


def divergence_score(logratio: Tensor, divergence: Divergence, *, alpha: float) -> Tensor:
    """f'(u) at u = exp(logratio), without its constant, which cancels in margins.

    reverse_kl: log u    forward_kl: -1/u    js: log(2u / (1 + u))    alpha: (1 - u^-alpha) / alpha

    Above an exponent of 60 the powers of u go on along their tangent: float32 and bfloat16 end at 88.

    Raises:
        ValueError: an unknown divergence, alpha outside (0, 1), or alpha with another divergence.

    >>> logratio = torch.tensor([math.log(4.0)])
    >>> divergence_score(logratio, "alpha", alpha=0.5)  # (1 - 4^-0.5) / 0.5
    tensor([1.])
    >>> divergence_score(logratio, "forward_kl", alpha=0.5)  # 1 - 1/4
    tensor([0.7500])
    >>> divergence_score(logratio, "js", alpha=0.5)  # log(8/5)
    tensor([0.4700])
    """
    check_word("divergence", divergence, Divergence)
    if divergence != "alpha":
        check_unused("alpha", alpha, default=_ANY_ALPHA, needs="divergence = alpha")
    elif not 0 < alpha < 1:
        raise ValueError(
            Problem("alpha", alpha, "must be in (0, 1). At 0 it is divergence = reverse_kl, at 1 forward_kl.")
        )
    match divergence:
        case "reverse_kl":
            return logratio
        case "forward_kl":
            return -_expm1(-logratio)
        case "js":
            return math.log(2) + logsigmoid(logratio)
        case "alpha":
            return -_expm1(-alpha * logratio) / alpha


def _expm1(exponent: Tensor) -> Tensor:
    beyond = torch.relu(exponent - _LARGEST_EXPONENT)
    return torch.expm1(exponent.clamp(max=_LARGEST_EXPONENT)) + math.exp(_LARGEST_EXPONENT) * beyond


def dpo(
    chosen: ReferencedLogps,
    rejected: ReferencedLogps,
    *,
    beta: float,
    label_smoothing: float = 0.0,
    divergence: Divergence = "reverse_kl",
    alpha: float = 0.5,
) -> Tensor:
    """Direct Preference Optimization (DPO): logistic loss on the margin of implicit rewards.

    margin = beta * (f'(chosen) - f'(rejected)), where f' of an answer is its logratio
    loss   = -(1 - label_smoothing) * log sigmoid(margin) - label_smoothing * log sigmoid(-margin)

    With u = exp(logratio), other divergences have f' = -1/u (forward_kl), log(2u / (1 + u)) (js) and
    (1 - u^-alpha) / alpha (alpha).

    Use it when you have pairs and no reason for another method. Set label_smoothing if some labels are wrong, and
    another divergence if the policy loses too much of the reference's diversity.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        label_smoothing: Probability that a label is flipped, in [0, 0.5).
        divergence: Divergence that keeps the policy close to the reference: reverse_kl seeks its modes, forward_kl
            covers it, js and alpha lie between.
        alpha: For divergence = alpha, in (0, 1). Near 0 it is reverse_kl, near 1 forward_kl.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range, or alpha without divergence = alpha.
    Source: Rafailov et al. 2023, arXiv:2305.18290, Eq. 7; smoothing: Mitchell 2023 (cDPO), Eq. 3; divergences: Wang
        et al. 2023 (f-DPO), arXiv:2309.16240.
    Differs: where 1/u or u^-alpha of f-DPO would overflow, above exp(60), this loss continues along the tangent. TRL
        1.16 clamps u^-alpha at exp(80), where its gradient vanishes, and lets 1/u overflow. Its f_alpha_divergence_coef
        is 1 - alpha, and its `sigmoid` ignores label_smoothing.

    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> dpo(chosen, rejected, beta=0.1)  # margin = 0.1 * (1.8 - -1.3) = 0.31, sigmoid(0.31) = 0.5769
    tensor([0.5501])
    >>> dpo(chosen, rejected, beta=0.1, divergence="forward_kl")  # margin = 0.1 * (exp(1.3) - exp(-1.8)) = 0.3504
    tensor([0.5332])
    """
    check_beta(beta)
    scores = [divergence_score(rows.logratio, divergence, alpha=alpha) for rows in (chosen, rejected)]
    return logistic(beta * (scores[0] - scores[1]), label_smoothing=label_smoothing)


def robust_dpo(chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float, label_smoothing: float) -> Tensor:
    """Robust DPO (rDPO): unbiased estimate of the DPO loss on the true labels, from labels that may be flipped.

    margin = beta * (chosen.logratio - rejected.logratio)
    loss   = -((1 - label_smoothing) * log sigmoid(margin) - label_smoothing * log sigmoid(-margin))
             / (1 - 2 * label_smoothing)

    Use it when you know roughly which share of the labels is wrong. Unlike `dpo` with label_smoothing it does not stop
    at a finite margin: it subtracts what wrong labels add to the loss on average. Single losses can be below 0.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        label_smoothing: Probability that a label is flipped, epsilon in the paper, in [0, 0.5).
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Chowdhury et al. 2024, arXiv:2403.00409.
    Differs: no. TRL 1.16 has this formula, with a default label_smoothing of 0, which makes it DPO.

    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> robust_dpo(chosen, rejected, beta=0.1, label_smoothing=0.1)  # (0.9 * 0.5501 - 0.1 * 0.8601) / 0.8
    tensor([0.5114])
    """
    check_beta(beta)
    check_label_smoothing(label_smoothing)
    margin = beta * (chosen.logratio - rejected.logratio)
    of_labels = (1 - label_smoothing) * logsigmoid(margin) - label_smoothing * logsigmoid(-margin)
    return -of_labels / (1 - 2 * label_smoothing)


def ipo(chosen: ReferencedLogps, rejected: ReferencedLogps, *, tau: float, length_normalized: bool = False) -> Tensor:
    """Identity Preference Optimization (IPO): squared distance between the difference of logratios and a target.

    loss = (chosen.logratio - rejected.logratio - 1 / (2 * tau))^2

    Use it when labels are deterministic or few, so that DPO would overfit: margins beyond the target are penalised too.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        tau: Strength of the constraint to the reference, > 0: the target is 1 / (2 * tau) nats.
        length_normalized: Average each logratio over the tokens of the answer instead of summing. The same target
            is then one per token, and asks for far more: raise tau with it.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats squared.
    Raises:
        ValueError: tau is not above 0.
    Source: Azar et al. 2023, arXiv:2310.12036, Eq. 17.
    Differs: no; the paper's logratios are sums over the answer. TRL 1.16 always uses the mean over tokens, because the
        authors said that they obtained their results with it: its `ipo` is length_normalized = true, and its beta is
        tau. The DPO authors' code uses sums.

    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> ipo(chosen, rejected, tau=0.1)  # (3.1 - 5)^2
    tensor([3.6100])
    """
    if not tau > 0:
        raise ValueError(Problem("tau", tau, "must be above 0. The target margin is 1 / (2 * tau)."))
    if length_normalized:
        return (chosen.mean_logratio - rejected.mean_logratio - 1 / (2 * tau)).square()
    return (chosen.logratio - rejected.logratio - 1 / (2 * tau)).square()


def hinge(chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float) -> Tensor:
    """Hinge loss on the margin of implicit rewards: SLiC-HF with a reference.

    loss = max(0, 1 - beta * (chosen.logratio - rejected.logratio))

    Use it when well separated pairs should not be pushed further apart: above a margin of 1 the gradient is 0.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, gamma in the paper, > 0. Pairs count until 1 / beta nats lie between them.
    Returns:
        Loss per pair, not reduced. Shape: (pair,).
    Raises:
        ValueError: beta is not above 0.
    Source: Liu et al. 2023 (RSO), arXiv:2309.06657, hinge-norm; after Zhao et al. 2023 (SLiC-HF), arXiv:2305.10425,
        which has no reference.
    Differs: no. The rejection sampling of RSO generates pairs and is not part of the loss.

    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> hinge(chosen, rejected, beta=0.1)  # 1 - 0.31
    tensor([0.6900])
    """
    check_beta(beta)
    return torch.relu(1 - beta * (chosen.logratio - rejected.logratio))


def logistic(margin: Tensor, *, label_smoothing: float) -> Tensor:
    """Negative log-likelihood that the margin is above 0, where a share of the labels may be flipped.

    >>> import torch
    >>> logistic(torch.tensor([0.31]), label_smoothing=0.0)
    tensor([0.5501])
    """
    check_label_smoothing(label_smoothing)
    return -(1 - label_smoothing) * logsigmoid(margin) - label_smoothing * logsigmoid(-margin)
