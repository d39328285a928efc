"""Draws samples from the policy while it trains."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, extract_model_from_parallel
from peft import PeftModel
from torch import nn
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from typing_extensions import override

from preftune.errors import ConfigError, OutputError, TrainingError, first_line
from preftune.metrics.intervals import Estimate
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.forward import Forward
from preftune.model.generation.completions import Generation, generate
from preftune.model.generation.sample_values import SampleValues, sample_values
from preftune.model.load.sharding import is_sharded
from preftune.model.reference.logps import Runner
from preftune.model.reference.reference import NoReference
from preftune.runs.reference import SampleReference
from preftune.runs.samples import DrawnSamples, SampleMeasure, SamplePrompt, SamplesFile

__all__ = ["RunSamples", "Sampler"]


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


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What the main process came to: metrics, or what went wrong."""

    metrics: Mapping[str, float]
    problem: str | None = None


class RunSamples(TrainerCallback):
    """Draws before the first step, at each evaluation and after the last step; gives metrics as a `Measure` does.

    The main process draws, with its own copy of the weights, and tells the others what came of it. Where that fails,
    a line says so, nothing is drawn from then on and the run goes on; with measures that the user asked for, which
    would be missing, the run ends.

    Args:
        sampler: Draws.
        file: Where samples go.
        measures: What else is measured of them.
        say: Takes a line where nothing is drawn.
    """

    def __init__(
        self,
        sampler: Sampler,
        file: SamplesFile,
        *,
        measures: Sequence[SampleMeasure] = (),
        say: Callable[[str], None],
    ) -> None:
        self._sampler = sampler
        self._file = file
        self._measures = tuple(measures)
        self._say = say
        self._is_off = False
        self._step = 0
        self._found: tuple[int, Mapping[str, float]] | None = None

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        """Metrics of samples at the current step. See `Measure`.

        Raises:
            PreftuneError: a measure that cannot be taken.
        """
        if self._is_off:
            return {}
        if self._found is None or self._found[0] != self._step:
            self._found = (self._step, self._of_main_process(model))
        return self._found[1]

    @override
    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._step = state.global_step
        if is_sharded(args):
            self._turn_off_sharded()
        elif state.is_world_process_zero:
            self._file.keep_until(self._step)
        if self._step == 0 and not args.eval_on_start:
            self(kwargs["model"])

    @override
    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._step = state.global_step
        if self._step >= state.max_steps:
            self(kwargs["model"])

    def _of_main_process(self, model: nn.Module) -> Mapping[str, float]:
        error: Exception | None = None
        outcome = _Outcome({})
        if PartialState().is_main_process:
            try:
                outcome = _Outcome(self._take(extract_model_from_parallel(model)))
            except Exception as caught:  # whatever it is: a run that trains well must not end by it
                error, outcome = caught, _Outcome({}, first_line(caught))
        if PartialState().num_processes > 1:
            (outcome,) = broadcast_object_list([outcome])
        if outcome.problem is not None:
            if self._measures:
                raise error or TrainingError(f"samples: the main process could not take them. {outcome.problem}")
            self._turn_off(outcome.problem)
        return outcome.metrics

    def _take(self, model: Any) -> Mapping[str, float]:
        drawn = self._sampler.draw(model, self._step)
        self._file.append(drawn.line())
        metrics = drawn.metrics()
        for measure in self._measures:
            metrics.update(measure(drawn, self._start(len(drawn.prompts))))
        return metrics

    def _start(self, count: int) -> list[str]:
        """What was drawn before the first step; of a resumed run the file knows."""
        line = self._file.line_of(0)
        if line is None or len(line.samples) != count:
            raise OutputError(
                "samples.jsonl: lacks the samples of step 0, so that later ones cannot be compared with them. Put the "
                "file back, or start anew with --overwrite."
            )
        return [sample.completion for sample in line.samples]

    def _turn_off_sharded(self) -> None:
        why = "the model is sharded over processes (FSDP), and generation needs it whole"
        if self._measures:
            raise ConfigError([f"judge: there are no samples to rate: {why}. Leave it out, or train without FSDP."])
        self._turn_off(why)

    def _turn_off(self, why: str) -> None:
        self._is_off = True
        if PartialState().is_main_process:
            self._say(f"samples: none are drawn: {why}")
