"""Samples of a run before and after training, prompt by prompt."""

from collections.abc import Sequence
from dataclasses import dataclass

from preftune.metrics.catalogue import metric_text
from preftune.model.generation.prompts import note_on_empty
from preftune.report.run_record import RunRecord
from preftune.runs.samples import Sample, SamplesLine

_CUT_OFF = " [...]"
_NUM_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Written:
    """A prompt and its completions.

    Args:
        texts: Completions in the order of the headings: greedy ones if the samples have them.
        drawn: Completions at temperature 1, if `texts` are greedy; else empty.
    """

    prompt: str
    texts: tuple[str, ...]
    drawn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Generations:
    """Texts side by side.

    Args:
        notes: Facts on the samples of each model.
        rows: One row per prompt; a text that was cut off ends with [...].
        is_before_and_after: True if the first model is the one before training.
    """

    headings: tuple[str, ...]
    notes: tuple[str, ...]
    rows: tuple[Written, ...]
    is_before_and_after: bool = True


def generations_of(run: RunRecord) -> Generations | None:
    """Samples of the run, else those of its evaluation; None if there are neither."""
    if run.samples:
        return _of_samples(run.samples)
    found = None if run.evaluation is None else run.evaluation.samples
    if found is None or not found.examples:
        return None
    has_reference = all(example.reference is not None for example in found.examples)
    rows = [
        Written(example.prompt, tuple(map(_or_note, (example.reference or "", example.policy)[not has_reference :])))
        for example in found.examples[:_NUM_SHOWN]
    ]
    headings = ("Reference", "Model") if has_reference else ("Model",)
    note = "at temperature 1, drawn by `preftune eval`"
    return Generations(headings, (note,) * len(headings), tuple(rows), is_before_and_after=has_reference)


def latest_texts(run: RunRecord) -> dict[str, str]:
    """The last completion of each prompt."""
    found = generations_of(run)
    return {} if found is None else {row.prompt: row.texts[-1] for row in found.rows}


def _of_samples(lines: Sequence[SamplesLine]) -> Generations:
    chosen = [lines[0], lines[-1]] if len(lines) > 1 else [lines[0]]
    samples = [{sample.prompt: sample for sample in line.samples} for line in chosen]
    shared = [prompt for prompt in samples[0] if all(prompt in own for own in samples)][:_NUM_SHOWN]
    return Generations(
        headings=tuple(_heading(line) for line in chosen),
        notes=tuple(_facts(line) for line in chosen),
        rows=tuple(_written([own[prompt] for own in samples]) for prompt in shared),
        is_before_and_after=len(chosen) > 1,
    )


def _written(samples: Sequence[Sample]) -> Written:
    """The completions of one prompt at several steps."""
    drawn = tuple(_text(sample.completion, finished=sample.finished) for sample in samples)
    greedy = tuple(_text(one.text, finished=one.finished) for sample in samples if (one := sample.greedy) is not None)
    is_greedy = len(greedy) == len(samples)
    return Written(samples[0].prompt, greedy if is_greedy else drawn, drawn if is_greedy else ())


def _heading(line: SamplesLine) -> str:
    return "Before" if line.step == 0 else f"After {line.step:,} steps"


def _facts(line: SamplesLine) -> str:
    named = (
        ("KL {} nats", "samples/kl", line.kl),
        ("entropy {} nats per token", "samples/entropy", line.entropy),
        ("{} tokens", "samples/num_tokens", line.mean_tokens),
    )
    facts = [form.format(metric_text(name, value)) for form, name, value in named if value is not None]
    most = [] if line.max_new_tokens is None else [f"at most {line.max_new_tokens:,}"]
    return ", ".join([*facts, *most])


def _text(completion: str, *, finished: bool) -> str:
    return _or_note(completion, finished=finished) + ("" if finished else _CUT_OFF)


def _or_note(completion: str, *, finished: bool = True) -> str:
    return note_on_empty(completion, finished=finished) or completion
