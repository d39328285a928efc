"""Losses of lists: several completions of one prompt, each with a score."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from preftune.errors import Problem
from preftune.losses.logps import ReferencedLogps
from preftune.losses.options import check_beta


def plackett_luce(completions: ReferencedLogps, scores: Tensor, prompts: Tensor, *, beta: float) -> Tensor:
    """DPO for rankings: negative log-likelihood of the order of a list under the Plackett-Luce model.

    reward = beta * logratio
    loss   = sum over completions i of the prompt of
             log(exp(reward_i) + sum over those with a lower score than i of exp(reward)) - reward_i

    Use it when several answers of a prompt are ranked, and only the order can be trusted, not the distances. With two
    answers it is `dpo`.

    Args:
        completions: Shape: (completion,). Unit: nats.
        scores: Higher is better; only their order counts. Shape: (completion,).
        prompts: Index of the prompt that a completion answers, counted from 0 without a gap. Shape: (completion,).
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
    Returns:
        Loss per prompt, not reduced; 0 where all scores are equal. Shape: (prompt,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Rafailov et al. 2023, arXiv:2305.18290, App. A.3, Eq. 20.
    Differs: the paper has no ties. Here a completion competes with itself and completions of strictly lower score, so
        completions with equal scores are not compared.

    >>> import torch
    >>> policy, reference = torch.tensor([-4.0, -5.0, -9.0]), torch.tensor([-6.0, -5.0, -8.0])
    >>> logps = ReferencedLogps(policy, reference, num_tokens=torch.tensor([3, 3, 4]))
    >>> plackett_luce(logps, torch.tensor([7.0, 5.0, 5.0]), torch.tensor([0, 0, 0]), beta=0.5)  # log(e + 1 + e^-.5) - 1
    tensor([0.4644])
    """
    check_beta(beta)
    return order_loss(beta * completions.logratio, scores, prompts)


def order_loss(rewards: Tensor, scores: Tensor, prompts: Tensor) -> Tensor:
    """Negative log-likelihood of the order of each list, by the rewards of its completions: see `plackett_luce`.

    Args:
        rewards, scores, prompts: Shape: (completion,).
    Returns:
        Shape: (prompt,). Unit: nats.
    """
    better, worse = _ordered_pairs(scores, prompts)
    itself = torch.arange(len(rewards), device=rewards.device)
    leads = torch.cat([torch.zeros_like(rewards), rewards[worse] - rewards[better]])
    lost = logsumexp_by(torch.cat([itself, better]), leads, len(rewards))
    return sum_by(prompts, lost, num_segments(prompts))


def infonca(
    completions: ReferencedLogps, scores: Tensor, prompts: Tensor, *, beta: float, alpha: float = 1.0
) -> Tensor:
    """InfoNCA: cross-entropy between the softmax of the scores and the softmax of the rewards of a list.

    reward = beta * logratio
    label  = softmax(scores / alpha) over the completions of the prompt
    loss   = -sum over the completions of label * log softmax(reward)

    Use it when the scores are meaningful as numbers, such as those of a reward model: the loss learns from all of them
    and from their distances. With scores far apart in units of `alpha` and two answers it is `dpo`.

    Args:
        completions: Shape: (completion,). Unit: nats.
        scores: Higher is better, in nats times `alpha`. Shape: (completion,).
        prompts: Index of the prompt that a completion answers, counted from 0 without a gap. Shape: (completion,).
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        alpha: Temperature of the scores, > 0. Lower concentrates the label on the best answer.
    Returns:
        Loss per prompt, not reduced. Shape: (prompt,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Chen et al. 2024, arXiv:2402.05369, InfoNCA (Table 1); beta 0.01 from the authors' training command.
    Differs: no. The authors' scripts add 0.01 to the score of the first answer and set alpha = 1e-4, so that only the
        best answer counts. With alpha = 1 this is the top-one loss of ListNet (Cao et al. 2007) on implicit rewards;
        LiPO (arXiv:2402.01878, Eq. 11) states it with labels score / sum of scores.

    >>> import torch
    >>> logps = ReferencedLogps(torch.tensor([-4.0, -7.0]), torch.tensor([-6.0, -7.0]), torch.tensor([3, 3]))
    >>> infonca(logps, torch.tensor([1.0, 1.0]), torch.tensor([0, 0]), beta=0.5)  # labels 1/2, rewards 1 and 0
    tensor([0.8133])
    """
    check_beta(beta)
    _check_alpha(alpha)
    rewards = beta * completions.logratio
    return -sum_by(prompts, _labels(scores, prompts, alpha, rewards) * _log_softmax(prompts, rewards))


def nca(completions: ReferencedLogps, scores: Tensor, prompts: Tensor, *, beta: float, alpha: float = 1.0) -> Tensor:
    """Noise Contrastive Alignment (NCA): classify completions as drawn by the scores or by the reference.

    reward = beta * logratio
    label  = softmax(scores / alpha) over the K completions of the prompt
    loss   = -sum over the completions of (label * log sigmoid(reward) + log sigmoid(-reward) / K)

    Use it when `infonca` fits, but the likelihood of the best answers must not fall, as in reasoning: the loss learns
    absolute rewards, not only their differences.

    Args:
        completions: Shape: (completion,). Unit: nats.
        scores: Higher is better, in nats times `alpha`. Shape: (completion,).
        prompts: Index of the prompt that a completion answers, counted from 0 without a gap. Shape: (completion,).
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        alpha: Temperature of the scores, > 0. Lower concentrates the label on the best answer.
    Returns:
        Loss per prompt, not reduced. Shape: (prompt,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Chen et al. 2024, arXiv:2402.05369, NCA (Table 1); beta 0.01 from the authors' training command.
    Differs: no; see `infonca` for the scores in the authors' scripts. TRL 1.16 has only K = 2, as `nca_pair`.

    >>> import torch
    >>> logps = ReferencedLogps(torch.tensor([-4.0, -7.0]), torch.tensor([-6.0, -7.0]), torch.tensor([3, 3]))
    >>> nca(logps, torch.tensor([1.0, 1.0]), torch.tensor([0, 0]), beta=0.5)  # (0.3133 + 1.3133)/2 + (log 2 + log 2)/2
    tensor([1.5064])
    """
    check_beta(beta)
    _check_alpha(alpha)
    rewards = beta * completions.logratio
    sizes = sum_by(prompts, torch.ones_like(rewards))
    labels = _labels(scores, prompts, alpha, rewards)
    return -sum_by(prompts, labels * logsigmoid(rewards) + logsigmoid(-rewards) / sizes[prompts])


def lipo_lambda(completions: ReferencedLogps, scores: Tensor, prompts: Tensor, *, beta: float) -> Tensor:
    """LiPO-lambda: logistic loss on all pairs of a list, weighted by the change in DCG from swapping the pair.

    reward = beta * logratio, rank = place of the completion in its list by reward, 1 for the highest
    weight = |2^score_i - 2^score_j| * |1 / log(1 + rank_i) - 1 / log(1 + rank_j)|, without gradient
    loss   = sum over pairs with score_i > score_j of weight * -log sigmoid(reward_i - reward_j)

    Use it when the scores are meaningful as numbers and the top of each list matters most.

    Args:
        completions: Shape: (completion,). Unit: nats.
        scores: Higher is better, meant to be in [0, 1]: weights grow as 2^score. Shape: (completion,).
        prompts: Index of the prompt that a completion answers, counted from 0 without a gap. Shape: (completion,).
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
    Returns:
        Loss per prompt, not reduced; 0 where all scores are equal. Shape: (prompt,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Liu et al. 2024, arXiv:2402.01878, Eq. 8, with its choice of gain and discount; beta 0.05 from its Sec. 5.
    Differs: the paper does not say how equal rewards are ranked, as at the start: here by score, higher first. It does
        not name the base of its logarithm; this is the natural one. Another base would only scale the loss.

    >>> import torch
    >>> logps = ReferencedLogps(torch.tensor([-4.0, -7.0]), torch.tensor([-6.0, -7.0]), torch.tensor([3, 3]))
    >>> lipo_lambda(logps, torch.tensor([1.0, 0.0]), torch.tensor([0, 0]), beta=0.5)  # (1/log 2 - 1/log 3) * 0.3133
    tensor([0.1668])
    """
    check_beta(beta)
    rewards = beta * completions.logratio
    better, worse = _ordered_pairs(scores, prompts)
    gains, discounts = torch.exp2(scores), 1 / ranks_in(prompts, rewards.detach(), scores).to(scores.dtype).log1p()
    weights = (gains[better] - gains[worse]) * (discounts[better] - discounts[worse]).abs()
    lost = -logsigmoid(rewards[better] - rewards[worse]) * weights.to(rewards.dtype)
    return sum_by(prompts[better], lost, num_segments(prompts))


def _ordered_pairs(scores: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of all pairs of completions of one prompt with unequal scores: the better, the worse. Shape: (pair,)."""
    first, second = pairs_in(prompts)
    is_ordered = scores[first] > scores[second]
    return first[is_ordered], second[is_ordered]


def _labels(scores: Tensor, prompts: Tensor, alpha: float, rewards: Tensor) -> Tensor:
    return _log_softmax(prompts, scores / alpha).exp().to(rewards.dtype)


def _log_softmax(prompts: Tensor, values: Tensor) -> Tensor:
    return values - logsumexp_by(prompts, values, num_segments(prompts))[prompts]


def _check_alpha(alpha: float) -> None:
    if not alpha > 0:
        raise ValueError(
            Problem("alpha", alpha, "must be above 0. The scores would be divided by nothing, or turned around.")
        )


def num_segments(segments: Tensor) -> int:
    """Number of segments, which are counted from 0 without gaps.

    >>> num_segments(torch.tensor([1, 0, 1]))
    2
    """
    return int(segments.max()) + 1 if len(segments) else 0


def sum_by(segments: Tensor, values: Tensor, count: int | None = None) -> Tensor:
    """Sum of the values of each segment.

    Args:
        segments: Which segment a value belongs to, in any order. Shape: (value,).
        values: Shape: (value,).
        count: Number of segments; default: as many as are named.
    Returns:
        0 for a segment without values. Shape: (segment,).

    >>> sum_by(torch.tensor([1, 0, 1]), torch.tensor([1.0, 2.0, 3.0]))
    tensor([2., 4.])
    """
    count = num_segments(segments) if count is None else count
    return values.new_zeros(count).index_add(0, segments, values)


def logsumexp_by(segments: Tensor, values: Tensor, count: int) -> Tensor:
    """Log of the summed exponentials of each segment, safe for values of any size.

    Args:
        segments: Which segment a value belongs to, in any order; each has at least one. Shape: (value,).
        values: Shape: (value,).
        count: Number of segments.
    Returns:
        Shape: (segment,).

    >>> logsumexp_by(torch.tensor([1, 0, 1]), torch.tensor([-1e9, 2.0, 0.0]), 2)
    tensor([2., 0.])
    """
    lowest = torch.finfo(values.dtype).min
    peaks = values.new_full((count,), lowest).scatter_reduce(0, segments, values.detach(), "amax")
    return peaks + sum_by(segments, (values - peaks[segments]).exp(), count).log()


def ranks_in(segments: Tensor, values: Tensor, ties: Tensor) -> Tensor:
    """Place of each value in its segment, 1 for the highest; equal values go by `ties`, higher first.

    Args:
        segments: Which segment a value belongs to, in any order. Shape: (value,).
        values, ties: Shape: (value,).
    Returns:
        Shape: (value,).

    >>> ranks_in(torch.tensor([1, 0, 1, 1]), torch.tensor([5.0, 9.0, 5.0, 7.0]), torch.tensor([0.0, 0.0, 1.0, 0.0]))
    tensor([3, 1, 2, 1])
    """
    order = ties.argsort(descending=True, stable=True)
    order = order[values[order].argsort(descending=True, stable=True)]
    order = order[segments[order].argsort(stable=True)]
    return torch.empty_like(order).scatter(0, order, _places(segments[order]) + 1)


def pairs_in(segments: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of all ordered pairs of different values of one segment.

    Args:
        segments: Which segment a value belongs to, in any order, counted from 0 without a gap. Shape: (value,).
    Returns:
        First and second of each pair. Shape of both: (pair,).

    >>> [index.tolist() for index in pairs_in(torch.tensor([1, 0, 1]))]
    [[0, 2], [2, 0]]
    """
    order = segments.argsort(stable=True)
    places = _places(segments[order])
    width = int(places.max()) + 1 if len(places) else 0
    grid = segments.new_full((num_segments(segments), width), -1).index_put((segments[order], places), order)
    first, second = torch.broadcast_tensors(grid[:, :, None], grid[:, None, :])
    is_pair = (first >= 0) & (second >= 0) & (first != second)
    return first[is_pair], second[is_pair]


def _places(ordered: Tensor) -> Tensor:
    """Place of each value in its segment, from 0, where the values of a segment stand together."""
    sizes = ordered.bincount()
    return torch.arange(len(ordered), device=ordered.device) - (sizes.cumsum(0) - sizes)[ordered]
