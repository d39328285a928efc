"""Losses of the likelihood alone, without a reference: SFT, and the baselines of the DPO paper."""

from torch import Tensor

from preftune.errors import Problem
from preftune.losses.logps import PolicyLogps

__all__ = ["preferred_ft", "sft", "unlikelihood"]


def sft(completions: PolicyLogps) -> Tensor:
    """Supervised fine-tuning: negative log-likelihood of the completions, given their prompts.

    loss = -policy

    Its mean is taken over the tokens of a step, so that it reads as nats per token and exp(loss) as perplexity.

    Use it when there are answers to imitate but no comparisons, and as the first stage before most other methods.

    Args:
        completions: Shape: (completion,). Unit: nats.
    Returns:
        Loss per completion, summed over its tokens, not reduced. Shape: (completion,). Unit: nats.
    Source: maximum likelihood; the SFT phase of Rafailov et al. 2023, arXiv:2305.18290, Sec. 3.
    Differs: no. Prompt tokens do not count, as in TRL and axolotl for prompt-completion data.

    >>> import torch
    >>> sft(PolicyLogps(torch.tensor([-6.0, -1.5]), num_tokens=torch.tensor([3, 1])))
    tensor([6.0000, 1.5000])
    """
    return -completions.policy


def preferred_ft(chosen: PolicyLogps) -> Tensor:
    """Preferred-FT: supervised fine-tuning on the chosen answers; rejected answers are ignored.

    loss = -chosen.policy

    Use it when you want a simple baseline, or in a sum such as `dpo + 0.1*preferred_ft`, to keep the chosen answers
    likely. It is averaged over the tokens of a step: nats per token.

    Args:
        chosen: Row i is the chosen answer of pair i. Shape: (pair,). Unit: nats.
    Returns:
        Loss per pair, summed over the tokens of the chosen answer, not reduced. Shape: (pair,). Unit: nats.
    Source: Rafailov et al. 2023, arXiv:2305.18290, Sec. 6.
    Differs: no. TRL 1.16's `sft` averages over the tokens of each micro-batch, then over micro-batches.

    >>> import torch
    >>> preferred_ft(PolicyLogps(torch.tensor([-12.3, -3.0]), num_tokens=torch.tensor([12, 4])))
    tensor([12.3000,  3.0000])
    """
    return -chosen.policy


def unlikelihood(chosen: PolicyLogps, rejected: PolicyLogps, *, alpha: float = 1.0) -> Tensor:
    """Unlikelihood training: raise the log-prob of chosen answers and lower that of rejected ones, without bound.

    loss = -chosen.policy + alpha * rejected.policy

    Use it when you want a baseline without a bound: the loss falls without end as rejected answers become impossible,
    and models degenerate, as the DPO paper reports.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        alpha: Weight of the rejected answer, in [0, 1]. At 0 it is preferred_ft, averaged over pairs.
    Returns:
        Loss per pair, not reduced, not bounded from below. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: alpha out of its range.
    Source: Rafailov et al. 2023, arXiv:2305.18290, Sec. 6, after Welleck et al. 2019, arXiv:1908.04319.
    Differs: Welleck et al. raise log(1 - p) of each token of the rejected answer, which is bounded. This loss lowers
        log p of the answer, as the DPO paper does.

    >>> import torch
    >>> chosen = PolicyLogps(torch.tensor([-12.3]), num_tokens=torch.tensor([12]))
    >>> rejected = PolicyLogps(torch.tensor([-8.5]), num_tokens=torch.tensor([8]))
    >>> unlikelihood(chosen, rejected, alpha=0.5)  # 12.3 - 0.5 * 8.5
    tensor([8.0500])
    """
    if not 0 <= alpha <= 1:
        raise ValueError(Problem("alpha", alpha, "must be in [0, 1]. Above, the rejected outweighs the chosen answer."))
    return -chosen.policy + alpha * rejected.policy
