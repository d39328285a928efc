"""How far a policy has moved from its reference."""

from collections.abc import Sequence

import torch
from torch import nn

from preftune.metrics.estimate import Estimate
from preftune.model.forward.forward import Forward
from preftune.model.generation.completions import Generation
from preftune.model.generation.sample_groups import groups_of_samples
from preftune.model.reference.logps import referenced_logps
from preftune.model.reference.reference import Reference

__all__ = ["sampled_kl"]


def sampled_kl(
    policy: nn.Module,
    reference: Reference,
    generations: Sequence[Sequence[Generation]],
    forward: Forward,
    *,
    max_tokens: int = 8192,
) -> Estimate:
    """KL(policy || reference) of whole completions, by sampling.

    KL = mean over samples y of log policy(y | x) - log reference(y | x)

    Samples of one prompt are averaged first: prompts are the independent values behind the standard error. With a
    single prompt its samples are.

    Args:
        policy: The model that the samples are from.
        reference: What it is compared with.
        generations: What `generate` gave for the policy, by prompt, **at temperature 1 with top_p 1 and top_k 0**.
            Anything else samples from another distribution than the one whose log-probs are taken, and the estimate
            is of no divergence at all. Completions cut off at `max_new_tokens` count as they are: the KL is then
            that of completions of at most so many tokens.
        forward: How log-probs are computed.
        max_tokens: Memory budget of one forward.
    Returns:
        Mean and standard error. Unit: nats. A mean below 0 is chance: the estimate has no bias, the KL is at least 0.
    Raises:
        ValueError: nothing was generated, or the reference gives no log-probs.
    """
    groups = groups_of_samples(generations)
    logratios = referenced_logps(policy, reference, groups, forward, max_tokens=max_tokens).logratio.double()
    if len(groups) == 1:
        return Estimate.of(logratios)
    by_prompt = logratios.split([len(group.completions) for group in groups])
    return Estimate.of(torch.stack([samples.mean() for samples in by_prompt]))
