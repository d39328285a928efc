"""DPO whose beta follows the pairs of each step."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from preftune.losses.logps import ReferencedLogps
from preftune.losses.options import check_beta

__all__ = ["average_gap", "beta_dpo"]

_LEAST_BETA = 1e-3


def beta_dpo(
    chosen: ReferencedLogps,
    rejected: ReferencedLogps,
    state: Tensor,
    *,
    beta: float,
    alpha: float,
    kept: float,
    momentum: float,
) -> Tensor:
    """β-DPO: a step whose pairs are further apart than usual is learned with a higher beta, and outliers not at all.

    gap    = chosen.logratio - rejected.logratio
    usual  = momentum * usual + (1 - momentum) * mean of the step's gaps
    beta'  = max(0.001, beta * (1 + alpha * (mean gap of the kept pairs - usual))), without gradient
    loss   = -log sigmoid(beta' * gap) * pairs / kept pairs, for pairs that are kept; 0 for the others

    Use it when the quality of pairs varies: easy or wrong pairs are learned with care, close ones with force. Give it
    large steps.

    Args:
        chosen, rejected: Row i of both is pair i; all pairs of the step. Shape: (pair,). Unit: nats.
        state: The usual gap, in nats, and the number of steps that it is of. Shape: (2,).
        beta: Reward per nat of logratio in a usual step, beta_0 in the paper, > 0.
        alpha: How much beta rises per nat that the step's gap is above the usual, as a share of it, >= 0. At 0, with
            all pairs kept, it is DPO.
        kept: Share of a step's pairs that is learned from, rho in the paper, in (0, 1]: those whose gap is nearest to
            the usual.
        momentum: Weight of the steps before in the usual gap, in [0, 1).
    Returns:
        Loss per pair, not reduced; the mean over all pairs is the mean over those kept. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Wu et al. 2024, arXiv:2407.08639; the usual values of options are those of the authors' code.
    Differs: the paper samples the pairs that it keeps, with weights that fall as a Gaussian around the usual gap; this
        takes the likeliest ones, so that a run does not depend on a further seed. The gap is in nats, not times beta,
        and beta' has a least value, as in the authors' code (github.com/junkangwu/beta-DPO). There the usual gap
        starts at 0, here at the gap of the first step: the same thing for a policy that starts as its reference.

    >>> zeros, count = torch.zeros(2), torch.tensor([8, 8])
    >>> chosen, rejected = (ReferencedLogps(torch.tensor(x), zeros, count) for x in ([1.5, 6.0], [-1.5, -3.0]))
    >>> state = torch.tensor([1.0, 20.0])  # gaps: 3, 9. Only 3 is kept: beta' = 0.1 * (1 + 0.6 * (3 - 1)) = 0.22
    >>> beta_dpo(chosen, rejected, state, beta=0.1, alpha=0.6, kept=0.5, momentum=0.9)  # 2 * -log sigmoid(0.66)
    tensor([0.8333, 0.0000])
    """
    check_beta(beta)
    _check_options(alpha, kept, momentum)
    gaps = chosen.logratio - rejected.logratio
    usual = state[0].to(gaps)
    nearest = (gaps.detach() - usual).abs().argsort(stable=True)[: max(1, round(kept * len(gaps)))]
    step_beta = beta * (1 + alpha * (gaps[nearest].mean() - usual))
    weights = torch.zeros_like(gaps).index_fill(0, nearest, len(gaps) / len(nearest))
    return -weights * logsigmoid(step_beta.detach().clamp(min=_LEAST_BETA) * gaps)


def average_gap(
    state: Tensor, chosen: ReferencedLogps, rejected: ReferencedLogps, *, momentum: float, **_: float
) -> Tensor:
    """The state of `beta_dpo` with one more step.

    Args:
        state: The usual gap and the number of steps that it is of; zeros before the first. Shape: (2,).
        chosen, rejected: All pairs of the step. Shape: (pair,). Unit: nats.
        momentum: As for `beta_dpo`, whose other options do nothing here.
    Returns:
        The same for one more step, without gradient. Shape: (2,).

    >>> zeros, count = torch.zeros(2), torch.tensor([8, 8])
    >>> chosen, rejected = (ReferencedLogps(torch.tensor(x), zeros, count) for x in ([1.5, 6.0], [-1.5, -3.0]))
    >>> average_gap(torch.tensor([1.0, 20.0]), chosen, rejected, momentum=0.9)  # 0.9 * 1 + 0.1 * (3 + 9) / 2
    tensor([ 1.5000, 21.0000])
    """
    usual, num_steps = state.unbind()
    gap = (chosen.logratio - rejected.logratio).detach().to(state).mean()
    average = momentum * usual + (1 - momentum) * gap
    return torch.stack([torch.where(num_steps > 0, average, gap), num_steps + 1])


def _check_options(alpha: float, kept: float, momentum: float) -> None:
    if not alpha >= 0:
        raise ValueError(f"alpha = {alpha}: must be at least 0. Below 0 outliers would be learned with force.")
    if not 0 < kept <= 1:
        raise ValueError(f"kept = {kept}: must be in (0, 1], the share of a step's pairs that is learned from.")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum = {momentum}: must be in [0, 1). At 1 the usual gap would never change.")
