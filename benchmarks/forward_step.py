"""Forward, loss and backward of given groups in several ways, without trainer and optimizer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from benchmarks.padded_forward import PaddedFused
from benchmarks.workloads import ModelSize, make_groups, make_model
from preftune.model.forward.forward import Forward
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import pack
from preftune.model.forward.sequences import SequencesForward

__all__ = ["WAYS", "Lengths", "StepCase", "make_step", "without_result"]

WAYS: Mapping[str, Forward] = {
    "packed, fused": PackedForward(),
    "padded, fused": PaddedFused(),
    "padded, all logits": SequencesForward(),
}

Lengths = tuple[tuple[int, tuple[int, ...]], ...]
"""Prompt and completion lengths of each group."""


@dataclass(frozen=True, slots=True)
class StepCase:
    """A case: the groups, one of `WAYS`, the model, and bfloat16 autocast on or off."""

    way: str
    lengths: Lengths
    size: ModelSize
    bf16: bool

    @property
    def packed_tokens(self) -> int:
        """Tokens when every prompt stands once."""
        return sum(prompt + sum(completions) for prompt, completions in self.lengths)

    @property
    def padded_tokens(self) -> int:
        """Tokens of one padded row per completion."""
        longest = max(prompt + max(completions) for prompt, completions in self.lengths)
        return longest * sum(len(completions) for _, completions in self.lengths)


def make_step(case: StepCase, model: PreTrainedModel | None = None) -> Callable[[], Tensor]:
    """A step that returns its log-probs, one per completion token. Layout of the batch is part of it."""
    policy = (model or make_model(case.size)).train()
    groups = make_groups(case.lengths, case.size.vocabulary_size)
    forward = WAYS[case.way]

    def step() -> Tensor:
        policy.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=case.bf16):
            logps = forward.token_logps(policy, pack(groups))
        (-logps.mean()).backward()
        return logps.detach()

    return step


def without_result(work: Callable[[], object]) -> Callable[[], None]:
    """The same work as `in_turn` wants it, where a result would be taken for seconds."""

    def silent() -> None:
        work()

    return silent
