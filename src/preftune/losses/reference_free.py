"""Losses without a reference: SFT, the baselines of the DPO paper, and the losses of pairs that need no reference."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from preftune.errors import Problem
from preftune.losses.logps import PolicyLogps
from preftune.losses.options import check_beta, check_unused


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


def orpo(chosen: PolicyLogps, rejected: PolicyLogps, *, lambda_or: float, sft_weight: float = 1.0) -> Tensor:
    """Odds Ratio Preference Optimization (ORPO): SFT on the chosen answers plus an odds-ratio preference term.

    odds(p) = p / (1 - p), of the mean probability per token p = exp(mean log-prob)
    loss    = -sft_weight * mean log-prob of chosen - lambda_or * log sigmoid(log(odds of chosen / odds of rejected))

    Use it when there is no SFT model yet: it trains from the base model, SFT and preferences in one phase.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        lambda_or: Weight of the odds ratio, > 0; lambda in the paper.
        sft_weight: Weight of SFT on the chosen answer, >= 0; at 0 for sums such as `orpo + preferred_ft`.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Hong et al. 2024, arXiv:2403.07691, Eq. 6 and 7. lambda_or 0.1 is that of its Mistral models.
    Differs: a mean log-prob is at most minus the epsilon of its dtype. At 0, a certain answer, the odds are infinite
        and their ratio may be nan, as in the authors' code, TRL 1.16 and LLaMA-Factory. The first term of TRL also
        covers the prompt and is a mean over all tokens of a micro-batch; its `beta` is lambda_or. Only this
        implementation has sft_weight.

    >>> import torch
    >>> chosen = PolicyLogps(torch.tensor([-12.3]), num_tokens=torch.tensor([12]))  # mean -1.025, odds 0.5596
    >>> rejected = PolicyLogps(torch.tensor([-8.5]), num_tokens=torch.tensor([8]))  # mean -1.0625, odds 0.5282
    >>> orpo(chosen, rejected, lambda_or=0.1)  # 1.025 - 0.1 * log sigmoid(log(0.5596 / 0.5282))
    tensor([1.0915])
    """
    if not lambda_or > 0:
        raise ValueError(
            Problem("lambda_or", lambda_or, "must be above 0. For SFT on the chosen answers use preferred_ft.")
        )
    _check_sft_weight(sft_weight)
    log_odds_ratio = _log_odds(chosen.mean_logp) - _log_odds(rejected.mean_logp)
    return -sft_weight * chosen.mean_logp - lambda_or * logsigmoid(log_odds_ratio)


def _log_odds(logp: Tensor) -> Tensor:
    """log(p / (1 - p)) of log p, up to p = 1 - epsilon."""
    logp = logp.clamp(max=-torch.finfo(logp.dtype).eps)
    return logp - torch.log(-torch.expm1(logp))


def simpo(chosen: PolicyLogps, rejected: PolicyLogps, *, beta: float, gamma: float) -> Tensor:
    """Simple Preference Optimization (SimPO): logistic loss on mean log-probs per token, with a target margin.

    margin = beta * (mean log-prob of chosen - mean log-prob of rejected)
    loss   = -log sigmoid(margin - gamma)

    Use it when a reference costs too much memory or answers grow long: rewards are averaged over tokens.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of mean log-prob, > 0. Larger than in DPO: 2 to 10.
        gamma: Target margin of rewards, >= 0. The authors' code takes gamma / beta, from 0 to 1.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Meng et al. 2024, arXiv:2405.14734, Eq. 6. Defaults: those of its Llama-3-Base model.
    Differs: no. TRL 1.16's `loss_type="simpo"` adds SFT on the chosen answers unless cpo_alpha is 0; its defaults are
        beta 0.1, gamma 0.5.

    >>> import torch
    >>> chosen = PolicyLogps(torch.tensor([-12.3]), num_tokens=torch.tensor([12]))  # mean -1.025
    >>> rejected = PolicyLogps(torch.tensor([-8.5]), num_tokens=torch.tensor([8]))  # mean -1.0625
    >>> simpo(chosen, rejected, beta=2.0, gamma=1.0)  # margin 2 * 0.0375: -log sigmoid(-0.925)
    tensor([1.2590])
    """
    check_beta(beta)
    if not gamma >= 0:
        raise ValueError(Problem("gamma", gamma, "must be at least 0. Below, a wrong order would be good enough."))
    return -logsigmoid(beta * (chosen.mean_logp - rejected.mean_logp) - gamma)


def cpo(
    chosen: PolicyLogps, rejected: PolicyLogps, *, beta: float, length_normalized: bool = True, sft_weight: float = 1.0
) -> Tensor:
    """Contrastive Preference Optimization (CPO): DPO without a reference, plus SFT on the chosen answers.

    loss = -log sigmoid(beta * (chosen.policy - rejected.policy)) - sft_weight * log-prob of chosen

    Use it when the chosen answers are good enough to imitate, like the translations that it was designed for.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        beta: Reward per nat of log-prob, > 0.
        length_normalized: Average the log-prob of `chosen` in the last term over its tokens instead of summing.
        sft_weight: Weight of the last term, >= 0; at 0 for sums such as `cpo + preferred_ft`.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range, or length_normalized = false with sft_weight = 0.
    Source: Xu et al. 2024, arXiv:2401.08417, Eq. 3 and the NLL term that is added to it.
    Differs: the last term of the paper is log pi(chosen), a sum (length_normalized false). The authors' code and TRL
        1.16 use the mean over all tokens of a micro-batch; the default here is the mean over the tokens of each answer.
        The paper has no sft_weight; in TRL it is cpo_alpha.

    >>> import torch
    >>> chosen = PolicyLogps(torch.tensor([-12.3]), num_tokens=torch.tensor([12]))
    >>> rejected = PolicyLogps(torch.tensor([-8.5]), num_tokens=torch.tensor([8]))
    >>> cpo(chosen, rejected, beta=0.1)  # -log sigmoid(0.1 * -3.8) + 12.3 / 12 = 0.9011 + 1.025
    tensor([1.9261])
    >>> cpo(chosen, rejected, beta=0.1, length_normalized=False)  # 0.9011 + 12.3
    tensor([13.2011])
    """
    check_beta(beta)
    _check_sft_weight(sft_weight)
    if sft_weight == 0:
        check_unused("length_normalized", length_normalized, default=True, needs="sft_weight above 0")
    imitated = chosen.mean_logp if length_normalized else chosen.policy
    return -logsigmoid(beta * (chosen.policy - rejected.policy)) - sft_weight * imitated


def _check_sft_weight(sft_weight: float) -> None:
    if not sft_weight >= 0:
        raise ValueError(
            Problem("sft_weight", sft_weight, "must be at least 0. Below, it would train the chosen away.")
        )


def slic(chosen: PolicyLogps, rejected: PolicyLogps, *, delta: float, lambda_reg: float) -> Tensor:
    """Sequence Likelihood Calibration (SLiC-HF): hinge loss on log-probs, plus SFT on the chosen answers.

    loss = max(0, delta - chosen.policy + rejected.policy) - lambda_reg * chosen.policy

    Use it when pairs that are already well separated should have no further effect on the ranking.

    Args:
        chosen, rejected: Row i of both is pair i. Shape: (pair,). Unit: nats.
        delta: Difference of log-probs above which a pair has no gradient, in nats, > 0.
        lambda_reg: Weight of SFT, >= 0; lambda in the paper.
    Returns:
        Loss per pair, not reduced. Shape: (pair,). Unit: nats.
    Raises:
        ValueError: an option out of its range.
    Source: Zhao et al. 2023, arXiv:2305.10425, Sec. 2. lambda_reg 0.1 is that of the HALOs code.
    Differs: SFT is on the chosen answer, as in HALOs and the SimPO paper. In the paper it is on the answers of its SFT
        data. TRL 1.16's `loss_type="hinge"` is another loss, with a reference and without SFT.

    >>> import torch
    >>> chosen = PolicyLogps(torch.tensor([-12.3]), num_tokens=torch.tensor([12]))
    >>> rejected = PolicyLogps(torch.tensor([-8.5]), num_tokens=torch.tensor([8]))
    >>> slic(chosen, rejected, delta=1.0, lambda_reg=0.1)  # 1 + 12.3 - 8.5 + 0.1 * 12.3 = 4.8 + 1.23
    tensor([6.0300])
    """
    if not delta > 0:
        raise ValueError(Problem("delta", delta, "must be above 0. Below, a wrong order would be good enough."))
    if not lambda_reg >= 0:
        raise ValueError(
            Problem("lambda_reg", lambda_reg, "must be at least 0. Below, it would train the chosen away.")
        )
    return relu(delta - chosen.policy + rejected.policy) - lambda_reg * chosen.policy
