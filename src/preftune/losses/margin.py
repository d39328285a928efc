"""Losses of pairs whose margin is not compared with 0 by a logistic function."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from preftune.errors import Problem
from preftune.losses.logps import ReferencedLogps
from preftune.losses.options import check_beta, check_word


def exo_pair(
    chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float, label_smoothing: float = 1e-3
) -> Tensor:
    """Efficient Exact Optimization (EXO) of pairs: reverse KL from the policy's preference to the labels.

    margin = beta * (chosen.logratio - rejected.logratio)
    p      = sigmoid(margin)
    loss   = p * log(p / (1 - label_smoothing)) + (1 - p) * log((1 - p) / label_smoothing)

    Use it when the policy should concentrate on the best answers instead of covering all of them: DPO is the forward KL
    of the same two distributions. The loss is least, 0, at the margin log((1 - label_smoothing) / label_smoothing), not
    at infinity, and it saturates for pairs with a very negative margin.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        label_smoothing: Probability that a label is flipped, epsilon in the paper, in (0, 0.5). At 0 the labels rule
            the rejected answer out, and the KL to them is infinite for every policy.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Ji et al. 2024, arXiv:2402.00856, Eq. 16.
    Differs: no. The authors' code uses log(1 - epsilon) = 0 and log(epsilon) = -10. TRL 1.16 has this formula.

    >>> import torch
    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> exo_pair(chosen, rejected, beta=0.1)  # p = 0.5769: 0.5769 * log(0.5769 / 0.999) + 0.4231 * log(0.4231 / 0.001)
    tensor([2.2421])
    """
    check_beta(beta)
    if not 0 < label_smoothing < 0.5:
        raise ValueError(Problem("label_smoothing", label_smoothing, "must be in (0, 0.5). At 0 the loss is infinite."))
    margin = beta * (chosen.logratio - rejected.logratio)
    kept = logsigmoid(margin) - math.log1p(-label_smoothing)
    flipped = logsigmoid(-margin) - math.log(label_smoothing)
    return margin.sigmoid() * kept + (-margin).sigmoid() * flipped


def discopop(chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float, tau: float = 0.05) -> Tensor:
    """DiscoPOP, the log-ratio modulated loss: logistic below a margin of 0, exponential above.

    margin = beta * (chosen.logratio - rejected.logratio)
    m      = sigmoid(margin / tau)
    loss   = -(1 - m) * log sigmoid(margin) + m * exp(-margin)

    Use it when you want the best loss found by a search with language models. Around a margin of 0, where a run
    starts, it rises with the margin if tau is small: the first steps may lower margins.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        tau: Width of the transition from one loss to the other, in (0, 1], in units of the margin.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Lu et al. 2024, arXiv:2406.08414, Eq. 5.
    Differs: no. exp(-margin) and m are combined in the exponent, which is exact. Alone, exp(-margin) overflows float32
        below a margin of -88: TRL 1.16 computes the factors one by one and returns 0 * inf = nan there.

    >>> import torch
    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> discopop(chosen, rejected, beta=0.1)  # margin 0.31, m = 0.99797: 0.00203 * 0.5501 + 0.99797 * 0.7334
    tensor([0.7331])
    """
    check_beta(beta)
    if not 0 < tau <= 1:
        raise ValueError(
            Problem("tau", tau, "must be in (0, 1]. Above 1 the loss of a wrong pair grows exponentially.")
        )
    margin = beta * (chosen.logratio - rejected.logratio)
    exponential = torch.exp(logsigmoid(margin / tau) - margin)
    return exponential - (-margin / tau).sigmoid() * logsigmoid(margin)


Offset = Literal["log", "linear"]


def odpo(
    chosen: ReferencedLogps,
    rejected: ReferencedLogps,
    margins: Tensor,
    *,
    beta: float,
    alpha: float = 1.0,
    offset: Offset = "log",
) -> Tensor:
    """DPO with an offset (ODPO): the better the chosen answer, the larger the required margin.

    offset = alpha * log(margins), or alpha * margins if linear
    loss   = -log sigmoid(beta * (chosen.logratio - rejected.logratio) - offset)

    Use it when the data say how much better the chosen answer is, such as by a reward model or ratings.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        margins: Score of the chosen minus score of the rejected answer, on the data's scale. Shape: (pair,).
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        alpha: Weight of the offset, >= 0. At 0 it is DPO.
        offset: Required margin as a function of the score difference. log: negative for differences below 1. linear:
            scores are rewards in nats.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range, or a margin that is not above 0 with offset = log.
    Source: Amini et al. 2024, arXiv:2402.10571, Sec. 3; log is its choice, linear one of those that it compares.
    Differs: no. TRL 1.16 does not have this loss.

    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> odpo(chosen, rejected, torch.tensor([2.0]), beta=0.1)  # 0.31 - log 2 = -0.3831
    tensor([0.9030])
    """
    check_beta(beta)
    check_word("offset", offset, Offset)
    if not alpha >= 0:
        raise ValueError(
            Problem("alpha", alpha, "must be at least 0. Below 0 the best pairs would be asked for least.")
        )
    margin = beta * (chosen.logratio - rejected.logratio)
    return -logsigmoid(margin - alpha * _scaled(margins, offset).to(margin.dtype))


def dpop(chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float, penalty: float) -> Tensor:
    """DPO-Positive (DPOP): DPO with a penalty if a chosen answer becomes less likely than under the reference.

    loss = -log sigmoid(beta * (chosen.logratio - rejected.logratio - penalty * max(0, -chosen.logratio)))

    Use it when chosen and rejected answers are nearly the same text, as in mathematics, where DPO lowers the log-probs
    of both. Watch logps/chosen.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        penalty: Reduction of the margin, in nats per nat that the chosen answer lost, >= 0; lambda in the paper. At 0
            it is DPO.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Pal et al. 2024 (Smaug), arXiv:2402.13228, Eq. 3.
    Differs: no. Formulas with the penalty outside the sigmoid or outside beta follow the first version of the paper,
        whose brackets the authors have corrected (github.com/abacusai/smaug, issue 2). TRL 1.16 does not have this
        loss.

    >>> chosen = ReferencedLogps(torch.tensor([-15.1]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-9.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> dpop(chosen, rejected, beta=0.3, penalty=5.0)  # 0.3 * (-1.0 + 2.3 - 5 * 1.0) = -1.11
    tensor([1.3948])
    """
    check_beta(beta)
    if not penalty >= 0:
        raise ValueError(
            Problem("penalty", penalty, "must be at least 0. Below 0 it would reward unlikely chosen answers.")
        )
    lost = torch.relu(-chosen.logratio)
    return -logsigmoid(beta * (chosen.logratio - rejected.logratio - penalty * lost))


def _scaled(margins: Tensor, offset: Offset) -> Tensor:
    if offset == "linear":
        return margins
    is_usable = (margins > 0) & margins.isfinite()
    if not is_usable.all():
        worst = float(margins[~is_usable][0])
        raise ValueError(
            f"a pair has a margin of {worst:g}: offset = log takes the logarithm of it, so that it must be a number "
            "above 0. Drop pairs without a difference, swap those whose rejected answer scores higher, or set "
            "offset = linear."
        )
    return margins.log()
