"""Draws samples from the policy while it trains."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
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
from preftune.model.generation.prompts import note_on_empty, text_of
from preftune.model.generation.sample_values import SampleValues, sample_values
from preftune.model.reference.logps import Runner
from preftune.model.reference.reference import NoReference
from preftune.runs.reference import SampleReference
from preftune.runs.samples import NUM_GREEDY, DrawnSamples, GreedyText, SampleMeasure, SamplePrompt, SamplesFile
from preftune.settings.chat import RAW, ChatChoice
from preftune.training.random_state import unchanged_random_state
from preftune.training.reference_sync import is_sharded


class Sampler:
    """Draws a completion for each prompt from the model's own distribution, with the same seed each time.

    In the same batches it completes the first prompts greedily, too. It changes neither the model nor any random state,
    so a run learns the same with and without it.

    Args:
        chat: Chat template or raw text for prompts that are text.
        prompts: At least one.
        reference: Reference of the KL.
        max_tokens: Memory budget of a forward, and of a batch of completions.
        needs_kl: Raise if the KL cannot be measured, instead of continuing without it.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[SamplePrompt],
        forward: Forward,
        reference: SampleReference,
        arithmetic: Arithmetic,
        *,
        chat: ChatChoice = RAW,
        max_new_tokens: int,
        max_tokens: int,
        seed: int,
        needs_kl: bool,
        say: Callable[[str], None],
    ) -> None:
        self._tokenizer = tokenizer
        self._chat = chat
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
        """Draw samples of the model after `step` steps.

        Raises:
            Exception: any error of generation or a forward, such as an unsupported model or a lack of memory.
        """
        with self._arithmetic.context():
            prompts = [item.asked for item in self._prompts]
            count = len(prompts)
            shown = prompts[:NUM_GREEDY]
            found = generate(
                model,
                self._tokenizer,
                [*prompts, *shown],
                greedy=range(count, count + len(shown)),
                chat=self._chat,
                max_new_tokens=self._max_new_tokens,
                batch_tokens=self._max_tokens,
                seed=self._seed,
            )
            drawn = found[:count]
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
            entropy_error=values.entropy_error,
            num_tokens=Estimate.of(values.num_tokens),
            greedy=tuple(GreedyText(sample.text, sample.finished) for (sample,) in found[count:]),
        )

    def _values(self, model: PreTrainedModel | PeftModel, drawn: Sequence[Sequence[Generation]]) -> SampleValues:
        """Values of the samples; after a first failure to load the reference, without KL."""
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
    """Outcome of the main process: metrics, or the problem."""

    metrics: Mapping[str, float]
    problem: str | None = None


class RunSamples(TrainerCallback):
    """Draws samples before the first step, at each evaluation and after the last step; a `Measure` of them.

    The main process draws, with its own copy of the weights, and broadcasts the metrics. If that fails, it prints a
    line and the run continues without samples; if the user requested measures of samples, the run ends.

    Args:
        drawing: Context in which samples are drawn, which may name it on the screen.
    """

    def __init__(
        self,
        sampler: Sampler,
        file: SamplesFile,
        *,
        measures: Sequence[SampleMeasure] = (),
        say: Callable[[str], None],
        drawing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._sampler = sampler
        self._drawing = drawing
        self._file = file
        self._measures = tuple(measures)
        self._say = say
        self._is_off = False
        self._step = 0
        self._found: tuple[int, Mapping[str, float]] | None = None

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        """Metrics of samples at the current step. See `Measure`.

        Raises:
            PreftuneError: a measure fails.
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
            except Exception as caught:  # an error of the samples must not end a run that trains well
                error, outcome = caught, _Outcome({}, first_line(caught))
        if PartialState().num_processes > 1:
            (outcome,) = broadcast_object_list([outcome])
        if outcome.problem is not None:
            if self._measures:
                raise error or TrainingError(f"samples: the main process could not take them. {outcome.problem}")
            self._turn_off(outcome.problem)
        return outcome.metrics

    def _take(self, model: Any) -> Mapping[str, float]:
        with unchanged_random_state():
            with self._drawing():
                drawn = self._sampler.draw(model, self._step)
            self._file.append(drawn.line())
            for prompt, greedy in zip(drawn.prompts[:1], drawn.greedy, strict=False):
                self._say(f"greedy      {_short(text_of(prompt.prompt))}: {_short(_shown(greedy))}")
            metrics = drawn.metrics()
            for measure in self._measures:
                metrics.update(measure(drawn, self._start(len(drawn.prompts))))
        return metrics

    def _start(self, count: int) -> list[str]:
        """The completions before the first step, read from the file, which a resumed run has, too."""
        line = self._file.line_of(0)
        if line is None or len(line.samples) != count:
            raise OutputError(
                "samples.jsonl: lacks the samples of step 0, so that later ones cannot be compared with them. Put the "
                "file back, or start over with --overwrite."
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


def _shown(greedy: GreedyText) -> str:
    return note_on_empty(greedy.text, finished=greedy.finished) or greedy.text


def _short(text: str, most: int = 60) -> str:
    """The text on one line; a long prompt or completion is cut.

    >>> _short("Boil\\nan   egg.", 9)
    'Boil an ...'
    """
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()} ..."
