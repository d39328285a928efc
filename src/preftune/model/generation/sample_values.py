"""Log-probs, entropy and KL of samples under the policy that they are from and its reference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from preftune.data.tokens.token_group import TokenGroup
from preftune.groups import Origin
from preftune.metrics.intervals import Estimate
from preftune.model.forward.packed_batch import PackedBatch
from preftune.model.generation.completions import Generation
from preftune.model.reference.logps import Runner, referenced_logps
from preftune.model.reference.reference import Reference


@dataclass(frozen=True, slots=True, eq=False)
class SampleValues:
    """Values of each sample, in the order of the prompts and of the samples of each. Shape of all: (sample,).

    Args:
        num_tokens: Lengths, the end-of-sequence token included.
        entropy: Entropies of the policy's next-token distributions, summed over the tokens. Unit: nats.
        logratio: Log-prob under the policy minus that under the reference; None without a reference. Unit: nats.
    """

    num_tokens: Tensor
    entropy: Tensor
    logratio: Tensor | None

    @property
    def kl(self) -> Estimate | None:
        """KL(policy || reference) of whole completions, for one sample of each prompt. Unit: nats."""
        return None if self.logratio is None else Estimate.of(self.logratio)

    @property
    def entropy_per_token(self) -> float:
        """Mean over all tokens. Unit: nats.

        >>> SampleValues(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0]), None).entropy_per_token
        1.5
        """
        return float(self.entropy.sum() / self.num_tokens.sum())

    @property
    def entropy_error(self) -> float:
        """Standard error of `entropy_per_token` over samples; NaN for a single one. Unit: nats.

        >>> values = SampleValues(torch.tensor([2.0, 2.0]), torch.tensor([2.0, 4.0]), None)
        >>> values.entropy_error  # mean 1.5; entropies minus 1.5 * 2 tokens: -1 and 1; sqrt(2 * (1 + 1)) / 4 tokens
        0.5
        """
        number = len(self.entropy)
        if number < 2:
            return math.nan
        apart = self.entropy - self.entropy_per_token * self.num_tokens
        return math.sqrt(number / (number - 1) * float(apart.square().sum())) / float(self.num_tokens.sum())


def sample_values(
    policy: nn.Module, reference: Reference, drawn: Sequence[Sequence[Generation]], runner: Runner
) -> SampleValues:
    """Run policy and reference over samples of the policy, once.

    Args:
        policy: The model that the samples are from, **at temperature 1, top_p 1, top_k 0**: otherwise they are from
            another distribution than the one whose log-probs are computed.
        drawn: Samples of the policy by prompt, as `generate` returns them.
    Returns:
        In double precision, on the CPU.
    """
    groups = groups_of_samples(drawn)

    def values(batch: PackedBatch) -> Tensor:
        found = runner.forward.token_values(policy, batch, extras=frozenset({"entropy"}))
        assert found.entropy is not None, "the entropy was asked for"
        rows = [batch.sum_by_completion(found.entropy), batch.sum_by_completion(found.logps)]
        of_reference = reference.logps(runner.forward, policy, batch)
        return torch.stack(rows if of_reference is None else [*rows, of_reference.to(rows[0].dtype)])

    entropy, logps, *reference_logps = runner.by_completion(policy, groups, values).double()
    lengths = torch.tensor([float(length) for group in groups for length in group.completion_lengths])
    return SampleValues(lengths.double(), entropy, logps - reference_logps[0] if reference_logps else None)


def sampled_kl(
    policy: nn.Module, reference: Reference, generations: Sequence[Sequence[Generation]], runner: Runner
) -> Estimate:
    """KL(policy || reference) of whole completions, by sampling.

    KL = mean over samples y of log policy(y | x) - log reference(y | x)

    Samples of one prompt are averaged first: prompts are the independent values behind the standard error. With a
    single prompt its samples are.

    Args:
        generations: Samples of the policy by prompt, as `generate` returns them, **at temperature 1 with top_p 1 and
            top_k 0**: otherwise the estimate is of no divergence at all. Completions cut off at `max_new_tokens` count
            as they are: the KL is then that of completions of at most so many tokens.
    Returns:
        Mean and standard error. Unit: nats. The estimate is unbiased and may fall below 0 by chance.
    Raises:
        ValueError: nothing was generated, or the reference gives no log-probs.
    """
    groups = groups_of_samples(generations)
    logratios = referenced_logps(policy, reference, groups, runner).logratio.double()
    if len(groups) == 1:
        return Estimate.of(logratios)
    by_prompt = logratios.split([len(group.completions) for group in groups])
    return Estimate.of(torch.stack([samples.mean() for samples in by_prompt]))


def groups_of_samples(generations: Sequence[Sequence[Generation]]) -> list[TokenGroup]:
    """One group per prompt whose completions are its samples, so that log-probs are computed like those of data.

    Raises:
        ValueError: nothing was generated, a prompt has no samples, or samples of several prompts are mixed.
    """
    if not generations:
        raise ValueError("generations: is empty, so there is nothing to estimate from. Give samples of the policy.")
    return [_group(number, samples) for number, samples in enumerate(generations, start=1)]


def _group(number: int, samples: Sequence[Generation]) -> TokenGroup:
    if not samples:
        raise ValueError(f"generations: prompt {number} has no samples. Give at least one, or leave the prompt out.")
    prompt = samples[0].prompt_ids
    if any(not np.array_equal(prompt, sample.prompt_ids) for sample in samples):
        raise ValueError(f"generations: entry {number} mixes samples of several prompts. Give one list per prompt.")
    return TokenGroup(prompt, tuple(sample.completion_ids for sample in samples), (), Origin("generations", number))
