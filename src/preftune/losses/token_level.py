"""Losses of pairs that look at the policy's whole distribution at every token."""

from typing import Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from preftune.errors import Problem
from preftune.losses.logps import ReferencedLogps
from preftune.losses.options import check_beta, check_unused, check_word

Form = Literal["tdpo1", "tdpo2"]

_USUAL_ALPHA = 0.5


def tdpo(
    chosen: ReferencedLogps,
    rejected: ReferencedLogps,
    chosen_kl: Tensor,
    rejected_kl: Tensor,
    *,
    beta: float,
    alpha: float = _USUAL_ALPHA,
    form: Form = "tdpo2",
) -> Tensor:
    """Token-level DPO (TDPO): DPO that also balances the KL of both answers to the reference.

    tdpo1: loss = -log sigmoid(beta * (chosen.logratio - rejected.logratio - (rejected_kl - chosen_kl)))
    tdpo2: loss = -log sigmoid(beta * (chosen.logratio - rejected.logratio - alpha * (rejected_kl - sg(chosen_kl))))

    sg: no gradient flows through it.

    Use it when DPO moves rejected answers far from the reference: their KL divergence then grows fastest, and this loss
    limits it. It needs the reference's distribution at every token, so cached log-probs are not enough.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        chosen_kl, rejected_kl: KL(reference || policy) of the next token, summed over the tokens of the answer,
            differentiable. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        alpha: Weight of the difference of KLs in tdpo2, >= 0. At 0 it is DPO.
        form: tdpo1 follows from the Bradley-Terry model; tdpo2 adds the weight alpha, and no gradient of chosen_kl.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range, or alpha with form = tdpo1.
    Source: Zeng et al. 2024, arXiv:2404.11999, Sec. 4.
    Differs: no. TRL 1.16 does not have this loss.

    >>> import torch
    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> tdpo(chosen, rejected, torch.tensor([1.0]), torch.tensor([0.4]), beta=0.1)  # 0.1 * (3.1 - 0.5 * -0.6) = 0.34
    tensor([0.5375])
    """
    check_beta(beta)
    check_word("form", form, Form)
    if not alpha >= 0:
        raise ValueError(Problem("alpha", alpha, "must be at least 0. Below 0 it would drive rejected answers away."))
    difference = chosen.logratio - rejected.logratio
    if form == "tdpo1":
        check_unused("alpha", alpha, default=_USUAL_ALPHA, needs="form = tdpo2")
        return -logsigmoid(beta * (difference - (rejected_kl - chosen_kl)))
    return -logsigmoid(beta * (difference - alpha * (rejected_kl - chosen_kl.detach())))


def wpo(
    chosen: ReferencedLogps,
    rejected: ReferencedLogps,
    chosen_alignment: Tensor,
    rejected_alignment: Tensor,
    *,
    beta: float,
    clamped: bool = True,
) -> Tensor:
    """Weighted Preference Optimization (WPO): DPO with pairs weighted by their probability under the policy.

    weight = min(1, exp(chosen_alignment + rejected_alignment)), without gradient
    loss   = -weight * log sigmoid(beta * (chosen.logratio - rejected.logratio))

    Use it when answers come from other models: it weights off-policy pairs as if the policy had sampled them.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        chosen_alignment, rejected_alignment: Mean over the tokens of log p(token) - log sum_v p(v)^2 under the policy:
            0 where the answer is as likely as the policy's own samples. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        clamped: Clamp weights to at most 1.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: beta is not above 0.
    Source: Zhou et al. 2024, arXiv:2406.11827, Eq. 2, with sampled alignment.
    Differs: the weight is at most 1, as in the authors' code (github.com/wzhouad/WPO), not in Eq. 2. TRL 1.16
        (use_weighting) has no bound (clamped = false): a pair of greedy answers can have a weight of exp(1) or more.

    >>> import torch
    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> wpo(chosen, rejected, torch.tensor([-0.2]), torch.tensor([-0.3]), beta=0.1)  # exp(-0.5) * 0.5501
    tensor([0.3337])
    >>> wpo(chosen, rejected, torch.tensor([0.2]), torch.tensor([0.3]), beta=0.1, clamped=False)  # exp(0.5) * 0.5501
    tensor([0.9070])
    """
    check_beta(beta)
    margin = beta * (chosen.logratio - rejected.logratio)
    alignment = (chosen_alignment + rejected_alignment).detach()
    weight = (alignment.clamp(max=0) if clamped else alignment).exp()
    return -weight.to(margin.dtype) * logsigmoid(margin)
