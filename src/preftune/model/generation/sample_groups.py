"""Samples as groups, so that their log-probs can be computed like those of data."""

from collections.abc import Sequence

import numpy as np

from preftune.data.tokens.token_group import TokenGroup
from preftune.groups import Origin
from preftune.model.generation.completions import Generation

__all__ = ["groups_of_samples"]


def groups_of_samples(generations: Sequence[Sequence[Generation]]) -> list[TokenGroup]:
    """A group for each prompt, whose completions are its samples.

    Args:
        generations: By prompt, as `generate` gives them.
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
