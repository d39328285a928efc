"""Draws samples from the policy of a run, and measures how far they show it to be from its reference."""

from collections.abc import Callable, Sequence

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from preftune.errors import first_line
from preftune.metrics.estimate import Estimate
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.forward import Forward
from preftune.model.generation.completions import Generation, generate
from preftune.model.generation.sample_values import SampleValues, sample_values
from preftune.model.reference.logps import Runner
from preftune.model.reference.reference import NoReference
from preftune.runs.drawn_samples import DrawnSamples
from preftune.runs.sample_prompts import SamplePrompt
from preftune.runs.sample_reference import SampleReference

__all__ = ["Sampler"]


class Sampler:
    """Draws a completion for each prompt from the model's own distribution, each time by the same seed.

    Neither the model nor any state of random numbers is changed by it, so that a run learns the same with and without.

    Args:
        tokenizer: The policy's.
        prompts: At least one.
        forward: How log-probs are computed.
        reference: What the KL is measured against.
        arithmetic: Device and precision of training.
        max_new_tokens: Longest completion.
        max_tokens: Memory budget of a forward, and of a batch of completions.
        seed: Of the draws.
        needs_kl: Whether the KL is needed, so that one that cannot be measured is an error.
        say: Takes a line where it cannot, and the run goes on without.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[SamplePrompt],
        forward: Forward,
        reference: SampleReference,
        arithmetic: Arithmetic,
        *,
        max_new_tokens: int,
        max_tokens: int,
        seed: int,
        needs_kl: bool,
        say: Callable[[str], None],
    ) -> None:
        self._tokenizer = tokenizer
        self._prompts = tuple(prompts)
        self._forward = forward
        self._reference = reference
        self._arithmetic = arithmetic
        self._max_new_tokens = max_new_tokens
        self._max_tokens = max_tokens
        self._seed = seed
        self._needs_kl = needs_kl
        self._say = say

    def draw(self, model: PreTrainedModel | PeftModel, step: int) -> DrawnSamples:
        """What the model writes after so many steps.

        Raises:
            Exception: whatever generation or a forward raises: a model that cannot do it, or memory that runs out.
        """
        with self._arithmetic.context():
            drawn = generate(
                model,
                self._tokenizer,
                [item.prompt for item in self._prompts],
                max_new_tokens=self._max_new_tokens,
                batch_tokens=self._max_tokens,
                seed=self._seed,
            )
            values = self._values(model, drawn)
        samples = [sample for (sample,) in drawn]
        return DrawnSamples(
            step=step,
            max_new_tokens=self._max_new_tokens,
            prompts=self._prompts,
            completions=tuple(sample.text for sample in samples),
            finished=tuple(sample.finished for sample in samples),
            kl=values.kl,
            entropy=values.entropy_per_token,
            num_tokens=Estimate.of(values.num_tokens),
        )

    def _values(self, model: PreTrainedModel | PeftModel, drawn: Sequence[Sequence[Generation]]) -> SampleValues:
        """Without the reference from the first time on that it cannot be had."""
        try:
            return self._against(self._reference, model, drawn)
        except Exception as error:
            if self._needs_kl or (isinstance(self._reference.at_hand, NoReference) and self._reference.load is None):
                raise
            self._say(f"samples: no KL from now on: {first_line(error)}")
        finally:
            if self._reference.load is not None and torch.cuda.is_available():
                torch.cuda.empty_cache()  # of the reference, which has left memory again
        self._reference = SampleReference(NoReference())
        return self._against(self._reference, model, drawn)

    def _against(
        self,
        reference: SampleReference,
        model: PreTrainedModel | PeftModel,
        drawn: Sequence[Sequence[Generation]],
    ) -> SampleValues:
        with reference.held() as held_fixed:
            return sample_values(model, held_fixed, drawn, Runner(self._forward, self._arithmetic, self._max_tokens))
