"""Losses of pairs that depend on all pairs of a step: optimal transport, and a beta that follows the step."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from preftune.errors import Problem
from preftune.losses.logps import ReferencedLogps
from preftune.losses.options import check_beta
from preftune.losses.pairwise import logistic


def aot(chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """Alignment via Optimal Transport (AOT), paired: make the policy's margins dominate the reference's.

    u = chosen.policy - rejected.policy, v = chosen.reference - rejected.reference
    margin_i = beta * (u_i - the v of the same rank as u_i)
    loss     = -(1 - label_smoothing) * log sigmoid(margin) - label_smoothing * log sigmoid(-margin)

    Use it when margins should improve as a distribution, not pair by pair. Use large steps. The margins of
    a step are sorted, so that the smallest under the policy is compared with the smallest under the reference.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        label_smoothing: Probability that a label is flipped, in [0, 0.5).
    Returns:
        Loss of the pair whose u_i it is, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Melnyk et al. 2024, arXiv:2406.05882, Sec. 3 (paired); label smoothing as in the authors' code, in TRL.
    Differs: sorts over the step and all ranks. TRL 1.16 sorts within each micro-batch of a rank; with one pair per
        micro-batch its `aot` equals DPO.

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
    """Alignment via Optimal Transport (AOT), unpaired: make chosen rewards dominate rejected ones.

    margin_i = beta * (chosen.logratio_i - the rejected.logratio of the same rank as chosen.logratio_i)
    loss     = -(1 - label_smoothing) * log sigmoid(margin) - label_smoothing * log sigmoid(-margin)

    Use it when chosen and rejected answers do not belong to the same prompts. Use large steps. The logratios of a step
    are sorted, so that the smallest of the chosen is compared with the smallest of the rejected.

    Args:
        chosen, rejected: As many of both; which is in which row does not matter. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        label_smoothing: Probability that a label is flipped, in [0, 0.5).
    Returns:
        Loss of the row whose chosen answer it is, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Melnyk et al. 2024, arXiv:2406.05882, Sec. 3 (unpaired); label smoothing as in the authors' code, in TRL.
    Differs: sorts over the step and all ranks. TRL 1.16 sorts within each micro-batch of a rank; its older releases
        call this loss `aot_pair`.

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


_LEAST_BETA = 1e-3
_TIE = 1e-3
"""Gaps whose distances differ by less, in nats, are equally near: while the policy is its reference, all gaps are 0 up
to rounding. Then the pair that is less likely under the reference comes first, which no cut of the step changes."""


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
    """β-DPO: DPO on the pairs of usual margin, with a beta that rises with their mean margin.

    gap    = chosen.logratio - rejected.logratio
    usual  = momentum * usual + (1 - momentum) * mean of the step's gaps
    beta'  = max(0.001, beta * (1 + alpha * (mean gap of the kept pairs - usual))), without gradient
    loss   = -log sigmoid(beta' * gap) * pairs / kept pairs, for pairs that are kept; 0 for the others

    Use it when the quality of pairs varies: a step of easy pairs gets a larger beta, a step of close pairs a smaller
    one, and the pairs whose gap is farthest from the usual gap are left out. Use large steps.

    Args:
        chosen, rejected: Row i of both is pair i; all pairs of the step. Shape: (pair,). Unit: nats.
        state: Running mean of the gap, in nats, and the number of steps in it. Shape: (2,).
        beta: Reward per nat of logratio in an average step, > 0; beta_0 in the paper.
        alpha: Relative rise of beta per nat of the kept pairs' mean gap above the running mean, >= 0. At 0, with
            all pairs kept, it is DPO.
        kept: Share of the pairs of a step that count, in (0, 1]: those whose gap is nearest to the running mean, and of
            equally near ones (within 0.001 nats) those less likely under the reference; rho in the paper.
        momentum: Weight of earlier steps in the running mean of the gap, in [0, 1).
    Returns:
        Loss per pair, not reduced; the mean over all pairs is the mean over those kept. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Wu et al. 2024, arXiv:2407.08639; the usual values of options are those of the authors' code.
    Differs: the paper samples the pairs to keep, with Gaussian weights around the usual gap. This loss keeps the most
        likely ones, so that a run needs no further seed. The gap is in nats, not times beta, and beta' has a minimum,
        as in the authors' code (github.com/junkangwu/beta-DPO). There the usual gap starts at 0, here at the gap of the
        first step; both are equal if the policy starts as its reference.

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
    distances = (gaps.detach() - usual).abs().div(_TIE).round()
    by_row = (chosen.reference + rejected.reference).argsort(stable=True)
    nearest = by_row[distances[by_row].argsort(stable=True)][: max(1, round(kept * len(gaps)))]
    step_beta = beta * (1 + alpha * (gaps[nearest].mean() - usual))
    weights = torch.zeros_like(gaps).index_fill(0, nearest, len(gaps) / len(nearest))
    return -weights * logsigmoid(step_beta.detach().clamp(min=_LEAST_BETA) * gaps)


def average_gap(
    state: Tensor, chosen: ReferencedLogps, rejected: ReferencedLogps, *, momentum: float, **_: float
) -> Tensor:
    """The state of `beta_dpo` with one more step.

    Args:
        state: Running mean of the gap and the number of steps in it; zeros before the first. Shape: (2,).
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
        raise ValueError(Problem("alpha", alpha, "must be at least 0. Below 0, beta would fall as margins grow."))
    if not 0 < kept <= 1:
        raise ValueError(Problem("kept", kept, "must be in (0, 1], the share of the pairs of a step that count."))
    if not 0 <= momentum < 1:
        raise ValueError(
            Problem("momentum", momentum, "must be in [0, 1). At 1 the running mean of the gap would never change.")
        )
