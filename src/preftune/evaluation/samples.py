"""What the samples of a policy tell: how far it is from its reference, how sure it is, how it writes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from preftune.evaluation.by_prompt import ByPrompt, PromptRecord
from preftune.evaluation.writing import Writing, length_drift
from preftune.groups import Text
from preftune.metrics.intervals import Bootstrap, FloatArray, Interval, Statistic, ratio_of, sums_by_prompt
from preftune.model.generation.completions import Generation
from preftune.model.generation.prompts import text_of
from preftune.model.generation.sample_values import sample_values
from preftune.model.reference.logps import Runner
from preftune.model.reference.reference import Reference

__all__ = ["Example", "Samples", "evaluate_samples"]

_NUM_EXAMPLES = 8


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and what the models wrote.

    Args:
        prompt: As text, one line per turn of a conversation.
        policy: First sample of the policy.
        reference: First sample of the reference; None without one.
    """

    prompt: str
    policy: str
    reference: str | None


@dataclass(frozen=True, slots=True)
class Samples:
    """What samples at temperature 1 tell of a policy.

    Args:
        num_prompts, samples_per_prompt: How many there are.
        max_new_tokens: Where samples were cut off. The KL is that of completions of at most so many tokens.
        kl: KL(policy || reference) of whole completions; None without a reference. Unit: nats.
        kl_per_token: The same over the mean length. Unit: nats per token.
        entropy: Mean entropy of the policy's next-token distributions on its samples. Unit: nats per token.
        policy, reference: How they write.
        length_drift: Tokens that the policy writes more than the reference; None without a reference.
        examples: The first prompts.
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


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Sums over all samples of a prompt. Shape of all: (prompt,)."""

    counts: FloatArray
    num_tokens: FloatArray
    entropy: FloatArray
    logratio: FloatArray | None


def evaluate_samples(
    policy: nn.Module,
    reference: Reference,
    drawn: Sequence[Sequence[Generation]],
    drawn_by_reference: Sequence[Sequence[Generation]] | None,
    runner: Runner,
    *,
    prompts: Sequence[Text],
    max_new_tokens: int,
    bootstrap: Bootstrap | None = None,
    by_prompt: PromptRecord | None = None,
) -> Samples:
    """Estimate what samples tell.

    KL = mean over samples y of log policy(y | x) - log reference(y | x)

    Args:
        policy: The model that the samples are from.
        reference: What it is compared with; `NoReference` for nothing.
        drawn: What `generate` gave for the policy, by prompt, as many for each, **at temperature 1, top_p 1, top_k 0**:
            else the samples are of another distribution than the one whose log-probs are taken.
        drawn_by_reference: The same for the reference, or None.
        runner: Forward, precision and memory budget.
        prompts: What was continued, for the examples.
        max_new_tokens: Where samples were cut off.
        bootstrap: How intervals are made; default: 1000 resamples, 95 %.
        by_prompt: Gets the KL of each prompt; None to do without.
    Raises:
        ValueError: nothing was generated.
    """
    bootstrap = bootstrap or Bootstrap()
    sums = _measure(policy, reference, drawn, runner)

    if by_prompt is not None and sums.logratio is not None:
        by_prompt["kl"] = ByPrompt.of(prompts, sums.logratio, sums.counts)

    def interval(statistic: Statistic) -> Interval:
        return bootstrap.interval(statistic, len(drawn))

    return Samples(
        num_prompts=len(drawn),
        samples_per_prompt=len(drawn[0]),
        max_new_tokens=max_new_tokens,
        kl=None if sums.logratio is None else interval(ratio_of(sums.logratio, sums.counts)),
        kl_per_token=None if sums.logratio is None else interval(ratio_of(sums.logratio, sums.num_tokens)),
        entropy=interval(ratio_of(sums.entropy, sums.num_tokens)),
        policy=Writing.of(drawn, bootstrap),
        reference=None if drawn_by_reference is None else Writing.of(drawn_by_reference, bootstrap),
        length_drift=None if drawn_by_reference is None else length_drift(drawn, drawn_by_reference, bootstrap),
        examples=tuple(_examples(prompts, drawn, drawn_by_reference)),
    )


def _measure(policy: nn.Module, reference: Reference, drawn: Sequence[Sequence[Generation]], runner: Runner) -> _Sums:
    found = sample_values(policy, reference, drawn, runner)
    owners = np.repeat(np.arange(len(drawn)), [len(samples) for samples in drawn])

    def sums(rows: Tensor) -> FloatArray:
        return sums_by_prompt(rows.numpy(), owners, len(drawn))

    logratio = None if found.logratio is None else sums(found.logratio)
    return _Sums(sums(torch.ones(len(owners))), sums(found.num_tokens), sums(found.entropy), logratio)


def _examples(
    prompts: Sequence[Text],
    drawn: Sequence[Sequence[Generation]],
    drawn_by_reference: Sequence[Sequence[Generation]] | None,
) -> list[Example]:
    return [
        Example(
            prompt=text_of(prompts[index]),
            policy=drawn[index][0].text,
            reference=None if drawn_by_reference is None else drawn_by_reference[index][0].text,
        )
        for index in range(min(_NUM_EXAMPLES, len(prompts)))
    ]
