"""Losses of pairs that ask for more than a margin above 0."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from preftune.losses.logps import ReferencedLogps
from preftune.losses.options import check_beta, check_word

__all__ = ["Offset", "dpop", "odpo"]

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
    """DPO with an offset (ODPO): the better the chosen answer, the larger the margin that is asked for.

    offset = alpha * log(margins), or alpha * margins if linear
    loss   = -log sigmoid(beta * (chosen.logratio - rejected.logratio) - offset)

    Use it when the data says how much better the chosen answer is: by scores of a reward model, or a rating.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        margins: Score of the chosen minus score of the rejected answer, on the data's scale. Shape: (pair,).
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        alpha: Weight of the offset, >= 0. At 0 it is DPO.
        offset: Function of the margins that is asked for. log: a difference of less than 1 asks for a margin below 0.
            linear: scores are taken for rewards in nats.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range, or a margin that is no number above 0 with offset = log.
    Source: Amini et al. 2024, arXiv:2402.10571, Sec. 3; log is its choice, linear one of those that it compares.
    Differs: no. TRL 1.16 does not have it.

    >>> chosen = ReferencedLogps(torch.tensor([-12.3]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-8.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> odpo(chosen, rejected, torch.tensor([2.0]), beta=0.1)  # 0.31 - log 2 = -0.3831
    tensor([0.9030])
    """
    check_beta(beta)
    check_word("offset", offset, Offset)
    if not alpha >= 0:
        raise ValueError(f"alpha = {alpha}: must be at least 0. Below 0 the best pairs would be asked for least.")
    margin = beta * (chosen.logratio - rejected.logratio)
    return -logsigmoid(margin - alpha * _scaled(margins, offset).to(margin.dtype))


def dpop(chosen: ReferencedLogps, rejected: ReferencedLogps, *, beta: float, penalty: float) -> Tensor:
    """DPO-Positive (DPOP): DPO that does not let chosen answers become less likely than under the reference.

    loss = -log sigmoid(beta * (chosen.logratio - rejected.logratio - penalty * max(0, -chosen.logratio)))

    Use it when chosen and rejected answers are nearly the same text, as in mathematics: there DPO lowers both. Watch
    logps/chosen.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        penalty: Nats taken off the margin per nat that the chosen answer has lost, lambda in the paper, >= 0. At 0 it
            is DPO.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Pal et al. 2024 (Smaug), arXiv:2402.13228, Eq. 3.
    Differs: no. Formulas with the penalty outside the sigmoid or outside beta go back to the first version of the
        paper, whose brackets its authors have corrected (github.com/abacusai/smaug, issue 2). TRL 1.16 does not have
        it.

    >>> chosen = ReferencedLogps(torch.tensor([-15.1]), torch.tensor([-14.1]), num_tokens=torch.tensor([12]))
    >>> rejected = ReferencedLogps(torch.tensor([-9.5]), torch.tensor([-7.2]), num_tokens=torch.tensor([8]))
    >>> dpop(chosen, rejected, beta=0.3, penalty=5.0)  # 0.3 * (-1.0 + 2.3 - 5 * 1.0) = -1.11
    tensor([1.3948])
    """
    check_beta(beta)
    if not penalty >= 0:
        raise ValueError(f"penalty = {penalty}: must be at least 0. Below 0 it would reward unlikely chosen answers.")
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
