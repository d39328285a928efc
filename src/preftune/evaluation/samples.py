"""Samples of a policy: KL to the reference, entropy, lengths, diversity."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from preftune.evaluation.by_prompt import ByPrompt, PromptRecord
from preftune.groups import Text
from preftune.metrics.intervals import Bootstrap, FloatArray, Interval, Statistic, ratio_of, sums_by_prompt
from preftune.model.generation.completions import Generation
from preftune.model.generation.prompts import text_of
from preftune.model.generation.sample_values import sample_values
from preftune.model.reference.logps import Runner
from preftune.model.reference.reference import Reference

_NUM_EXAMPLES = 8
_LONGEST_NGRAM = 3

SamplesByPrompt = Sequence[Sequence[Generation]]


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt with a completion of each model.

    Args:
        prompt: As text, one line per turn of a conversation.
        reference: First sample of the reference; None without one.
    """

    prompt: str
    policy: str
    reference: str | None


@dataclass(frozen=True, slots=True)
class Writing:
    """Lengths and diversity of a model's samples.

    Args:
        length: Mean length. Unit: tokens, the end-of-sequence token included.
        finished: Share of samples that ended before `max_new_tokens`.
        distinct: Different n-grams over all n-grams of all samples, for n = 1, 2, 3. The ratio falls with the number of
            samples, so compare equal numbers only. Without an interval: a resampled prompt repeats its n-grams, which
            new samples would not.
        ended_at_once: Share of samples without text, in [0, 1].
    """

    length: Interval
    finished: Interval
    distinct: tuple[float, ...]
    ended_at_once: float = 0.0

    @staticmethod
    def of(generations: SamplesByPrompt, bootstrap: Bootstrap) -> "Writing":
        """Statistics of samples by prompt, the same number for each."""
        prompts = len(generations)
        counts = np.array([float(len(samples)) for samples in generations])
        finished = np.array([float(sum(sample.finished for sample in samples)) for samples in generations])
        completions = [sample.completion_ids.tolist() for samples in generations for sample in samples]
        is_empty = [not sample.text.strip() for samples in generations for sample in samples]
        return Writing(
            length=bootstrap.interval(ratio_of(_num_tokens(generations), counts), prompts),
            finished=bootstrap.share(ratio_of(finished, counts), prompts),
            distinct=tuple(distinct_ngrams(completions, size) for size in range(1, _LONGEST_NGRAM + 1)),
            ended_at_once=sum(is_empty) / len(is_empty),
        )


@dataclass(frozen=True, slots=True)
class Samples:
    """Estimates from samples of a policy at temperature 1.

    Args:
        num_prompts, samples_per_prompt: Numbers of prompts, and of samples of each.
        max_new_tokens: Length at which samples were cut off. The KL is that of completions of at most so many tokens.
        kl: KL(policy || reference) of whole completions; None without a reference. Unit: nats.
        kl_per_token: The KL over the mean length. Unit: nats per token.
        entropy: Mean entropy of the policy's next-token distributions on its samples. Unit: nats per token.
        policy, reference: Lengths and diversity of their samples.
        length_drift: Mean length of the policy's minus that of the reference's samples; None without a reference.
    """

    num_prompts: int
    samples_per_prompt: int
    max_new_tokens: int
    kl: Interval | None
    kl_per_token: Interval | None
    entropy: Interval
    policy: Writing
    reference: Writing | None
    length_drift: Interval | None
    examples: tuple[Example, ...]


def evaluate_samples(
    policy: nn.Module,
    reference: Reference,
    drawn: SamplesByPrompt,
    drawn_by_reference: SamplesByPrompt | None,
    runner: Runner,
    *,
    prompts: Sequence[Text],
    max_new_tokens: int,
    bootstrap: Bootstrap | None = None,
    by_prompt: PromptRecord | None = None,
) -> Samples:
    """Estimate KL, entropy, lengths and diversity from samples.

    KL = mean over samples y of log policy(y | x) - log reference(y | x)

    Args:
        drawn: Samples of the policy by prompt, the same number for each, **at temperature 1, top_p 1, top_k 0**:
            otherwise they are from another distribution than the one whose log-probs are computed.
        bootstrap: Method of the intervals. Default: 1000 resamples, 95 %.
        by_prompt: Receives the KL of each prompt.
    """
    bootstrap = bootstrap or Bootstrap()
    found = sample_values(policy, reference, drawn, runner)
    owners = np.repeat(np.arange(len(drawn)), [len(samples) for samples in drawn])

    def sums(rows: Tensor) -> FloatArray:
        return sums_by_prompt(rows.numpy(), owners, len(drawn))

    counts, num_tokens = sums(torch.ones(len(owners))), sums(found.num_tokens)
    logratio = None if found.logratio is None else sums(found.logratio)
    if by_prompt is not None and logratio is not None:
        by_prompt["kl"] = ByPrompt.of(prompts, logratio, counts)

    def interval(statistic: Statistic) -> Interval:
        return bootstrap.interval(statistic, len(drawn))

    return Samples(
        num_prompts=len(drawn),
        samples_per_prompt=len(drawn[0]),
        max_new_tokens=max_new_tokens,
        kl=None if logratio is None else interval(ratio_of(logratio, counts)),
        kl_per_token=None if logratio is None else interval(ratio_of(logratio, num_tokens)),
        entropy=interval(ratio_of(sums(found.entropy), num_tokens)),
        policy=Writing.of(drawn, bootstrap),
        reference=None if drawn_by_reference is None else Writing.of(drawn_by_reference, bootstrap),
        length_drift=None if drawn_by_reference is None else length_drift(drawn, drawn_by_reference, bootstrap),
        examples=tuple(_examples(prompts, drawn, drawn_by_reference)),
    )


def distinct_ngrams(completions: Sequence[Sequence[int]], size: int) -> float:
    """Different n-grams of tokens over all n-grams, in [0, 1]; 0 if there are none.

    Source: Li et al. 2016, arXiv:1510.03055, Section 5.

    >>> distinct_ngrams([[1, 2, 1, 2], [1, 2]], 2)  # (1, 2) three times and (2, 1) once
    0.5
    """
    ngrams = [tuple(ids[start : start + size]) for ids in completions for start in range(len(ids) - size + 1)]
    return len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def length_drift(policy: SamplesByPrompt, reference: SamplesByPrompt, bootstrap: Bootstrap) -> Interval:
    """Mean length of the policy's samples minus that of the reference's, prompt by prompt. Unit: tokens."""
    means = [_num_tokens(samples) / np.array([len(own) for own in samples]) for samples in (policy, reference)]
    return bootstrap.interval(ratio_of(means[0] - means[1], np.ones(len(policy))), len(policy))


def _num_tokens(generations: SamplesByPrompt) -> FloatArray:
    """Tokens of all samples of a prompt. Shape: (prompt,)."""
    return np.array([float(sum(len(sample.completion_ids) for sample in samples)) for samples in generations])


def _examples(
    prompts: Sequence[Text], drawn: SamplesByPrompt, drawn_by_reference: SamplesByPrompt | None
) -> list[Example]:
    return [
        Example(
            prompt=text_of(prompts[index]),
            policy=drawn[index][0].text,
            reference=None if drawn_by_reference is None else drawn_by_reference[index][0].text,
        )
        for index in range(min(_NUM_EXAMPLES, len(prompts)))
    ]
