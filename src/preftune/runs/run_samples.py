"""Samples of a run's model as it trains: when they are drawn, and where they go."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, extract_model_from_parallel
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from typing_extensions import override

from preftune.errors import ConfigError, OutputError, TrainingError, first_line
from preftune.model.load.sharding import is_sharded
from preftune.runs.drawn_samples import SampleMeasure
from preftune.runs.sampler import Sampler
from preftune.runs.samples_file import SamplesFile

__all__ = ["RunSamples"]


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
        self._file.append(drawn.as_dict())
        metrics = drawn.metrics()
        for measure in self._measures:
            metrics.update(measure(drawn, self._start(len(drawn.prompts))))
        return metrics

    def _start(self, count: int) -> list[str]:
        """What was drawn before the first step; of a resumed run the file knows."""
        line = self._file.line_of(0)
        if line is None or len(line["samples"]) != count:
            raise OutputError(
                "samples.jsonl: lacks the samples of step 0, so that later ones cannot be compared with them. Put the "
                "file back, or start anew with --overwrite."
            )
        return [sample["completion"] for sample in line["samples"]]

    def _turn_off_sharded(self) -> None:
        why = "the model is sharded over processes (FSDP), and generation needs it whole"
        if self._measures:
            raise ConfigError([f"judge: there are no samples to rate: {why}. Leave it out, or train without FSDP."])
        self._turn_off(why)

    def _turn_off(self, why: str) -> None:
        self._is_off = True
        if PartialState().is_main_process:
            self._say(f"samples: none are drawn: {why}")
