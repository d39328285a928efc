"""What a policy and its reference say of samples, token by token."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from preftune.metrics.estimate import Estimate
from preftune.model.forward.forward import Forward
from preftune.model.forward.packed_batch import PackedBatch
from preftune.model.generation.completions import Generation
from preftune.model.generation.sample_groups import groups_of_samples
from preftune.model.reference.logps import by_completion
from preftune.model.reference.reference import Reference

__all__ = ["SampleValues", "sample_values"]


@dataclass(frozen=True, slots=True, eq=False)
class SampleValues:
    """Numbers of each sample, in the order of the prompts and of the samples of each. Shape of all: (sample,).

    Args:
        num_tokens: Lengths, the end-of-sequence token included.
        entropy: Of the policy's next-token distributions, summed over the tokens. Unit: nats.
        logratio: Log-prob under the policy minus that under the reference; None without a reference. Unit: nats.
    """

    num_tokens: Tensor
    entropy: Tensor
    logratio: Tensor | None

    @property
    def kl(self) -> Estimate | None:
        """KL(policy || reference) of whole completions, for samples of different prompts, one of each. Unit: nats."""
        return None if self.logratio is None else Estimate.of(self.logratio)

    @property
    def entropy_per_token(self) -> float:
        """Mean over all tokens. Unit: nats.

        >>> SampleValues(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 4.0]), None).entropy_per_token
        1.5
        """
        return float(self.entropy.sum() / self.num_tokens.sum())


def sample_values(
    policy: nn.Module,
    reference: Reference,
    drawn: Sequence[Sequence[Generation]],
    forward: Forward,
    *,
    max_tokens: int = 8192,
    show_progress: bool = False,
) -> SampleValues:
    """Run policy and reference over samples of the policy, once.

    Args:
        policy: The model that the samples are from, **at temperature 1, top_p 1, top_k 0**: else they are of another
            distribution than the one whose log-probs are taken.
        reference: What it is compared with; `NoReference` for nothing.
        drawn: What `generate` gave for the policy, by prompt.
        forward: How log-probs are computed.
        max_tokens: Memory budget of one forward.
        show_progress: Whether to show a progress bar.
    Returns:
        In double precision, on the CPU.
    Raises:
        ValueError: nothing was generated.
    """
    groups = groups_of_samples(drawn)

    def values(batch: PackedBatch) -> Tensor:
        found = forward.token_values(policy, batch, extras=frozenset({"entropy"}))
        assert found.entropy is not None, "the entropy was asked for"
        rows = [batch.sum_by_completion(found.entropy), batch.sum_by_completion(found.logps)]
        held_fixed = reference.logps(forward, policy, batch)
        return torch.stack(rows if held_fixed is None else [*rows, held_fixed.to(rows[0].dtype)])

    found = by_completion(policy, groups, values, forward, max_tokens=max_tokens, show_progress=show_progress)
    entropy, logps, *reference_logps = found.double()
    lengths = torch.tensor([float(length) for group in groups for length in group.completion_lengths])
    return SampleValues(lengths.double(), entropy, logps - reference_logps[0] if reference_logps else None)
