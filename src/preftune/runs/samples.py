"""Samples of a run: their prompts, their record, and the file samples.jsonl."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from transformers import PreTrainedTokenizerBase

from preftune.data.views import best_answer
from preftune.errors import ConfigError, DataError, TokenizerError
from preftune.files.json_files import append_json_line, from_json, json_line, read_json_lines, write_whole
from preftune.groups import NO_INPUTS, Prompt, PromptGroup, TemplateInputs, Text
from preftune.metrics.intervals import Estimate
from preftune.model.generation.prompts import encode_prompts, text_of
from preftune.settings.chat import RAW, ChatChoice
from preftune.settings.choice import DrawSettings

NUM_GREEDY = 8
"""Prompts that are completed greedily, too: as many as a report shows."""


@dataclass(frozen=True, slots=True)
class SamplePrompt:
    """A prompt to draw samples for.

    Args:
        chosen: Best completion in the data, as text; None if the data have none.
        inputs: Inputs of the chat template beside the messages.
    """

    prompt: Text
    chosen: str | None
    inputs: TemplateInputs = NO_INPUTS

    @property
    def asked(self) -> Prompt:
        """The prompt with its inputs, to be continued."""
        return Prompt(self.prompt, self.inputs)


@dataclass(frozen=True, slots=True)
class SamplePrompts:
    """Distinct prompts to draw samples for.

    Args:
        num_found: Number of distinct prompts to select from.
        num_too_long: Number of prompts that were passed over because they leave no room for a completion.
    """

    prompts: tuple[SamplePrompt, ...]
    num_found: int
    num_too_long: int = 0

    @property
    def texts(self) -> tuple[Text, ...]:
        """The prompts alone."""
        return tuple(item.prompt for item in self.prompts)

    @property
    def asked(self) -> tuple[Prompt, ...]:
        """The prompts with their inputs, to be continued."""
        return tuple(item.asked for item in self.prompts)

    @property
    def chosen(self) -> tuple[str | None, ...]:
        """The best completion in the data for each prompt."""
        return tuple(item.chosen for item in self.prompts)

    def __str__(self) -> str:
        too_long = f"; {self.num_too_long:,} leave no room for --max-new-tokens" if self.num_too_long else ""
        return f"samples: of {len(self.prompts):,} of {self.num_found:,} prompts{too_long}"


def samples_lines(settings: DrawSettings, num_prompts: int, *, are_measured: bool) -> Iterator[str]:
    """Lines for the console on the samples of a run.

    Args:
        num_prompts: Prompts that leave room for a completion.
        are_measured: A judge or another measure needs the samples.
    Raises:
        ConfigError: samples are needed, and no prompt leaves room for one.
    """
    length, wanted = f"{settings.sample_tokens:,}", settings.num_prompts
    if wanted and not num_prompts:
        line = f"samples: none are drawn: no prompt leaves room for {length} tokens"
        if are_measured:
            raise ConfigError([f"{line}. Lower eval_sample_tokens."])
        yield line
    if not num_prompts:
        return
    if are_measured and num_prompts < wanted:
        yield f"samples: of {num_prompts:,} prompts, not {wanted:,}: no more are held out that leave room for one"
    yield (
        f"samples: {num_prompts} of at most {length} tokens before the first step, at each evaluation and after the "
        "last step (--eval-samples 0 to skip)"
    )


def sample_prompts(
    items: Sequence[PromptGroup | Prompt | Text],
    tokenizer: PreTrainedTokenizerBase,
    chat: ChatChoice = RAW,
    *,
    count: int | None,
    longest: int | None,
    best_effort: bool = False,
) -> SamplePrompts:
    """Select prompts spread evenly over the data.

    The distinct prompts are cut into `count` stretches, and the first prompt of each that leaves room for a completion
    is taken. Only as many prompts are tokenized as this needs.

    Args:
        chat: Chat template or raw text for prompts that are text.
        count: Maximum number of prompts; None for all.
        longest: Maximum number of tokens of a prompt; None for no limit.
        best_effort: Pass over prompts that cannot be tokenized, and select none if none fits, instead of raising.
    Raises:
        DataError: no prompt leaves room for a completion.
        DataError, TokenizerError: a prompt cannot be tokenized.
    """
    answers: dict[Prompt, str | None] = {}
    for item in items:
        if isinstance(item, PromptGroup):
            answers.setdefault(Prompt(item.prompt, item.inputs), best_answer(item))
        else:
            answers.setdefault(item if isinstance(item, Prompt) else Prompt(item), None)
    distinct = list(answers)
    starts = evenly_spaced(len(distinct), len(distinct) if count is None else count)
    found: list[SamplePrompt] = []
    num_too_long = 0
    for start, end in pairwise([*starts, len(distinct)]):
        for prompt in distinct[start:end]:
            length = _length(prompt, tokenizer, chat, best_effort=best_effort)
            if length is not None and (longest is None or length <= longest):
                found.append(SamplePrompt(prompt.text, answers[prompt], prompt.inputs))
                break
            num_too_long += length is not None
    if not found and not best_effort:
        raise DataError(
            f"all {len(distinct):,} prompts are longer than {longest:,} tokens, so completions have no room. Lower "
            "--max-new-tokens."
        )
    return SamplePrompts(tuple(found), len(distinct), num_too_long)


def evenly_spaced(num_items: int, count: int) -> list[int]:
    """At most `count` evenly spaced indices into `num_items` items, the first included.

    >>> evenly_spaced(10, 4), evenly_spaced(2, 4)
    ([0, 2, 5, 7], [0, 1])
    """
    count = min(count, num_items)
    return [place * num_items // count for place in range(count)]


def _length(prompt: Prompt, tokenizer: PreTrainedTokenizerBase, chat: ChatChoice, *, best_effort: bool) -> int | None:
    try:
        (ids,) = encode_prompts(tokenizer, [prompt], chat)
    except (DataError, TokenizerError):
        if best_effort:
            return None
        raise
    return len(ids)


@dataclass(frozen=True, slots=True)
class GreedyText:
    """The greedy completion of a prompt, without special tokens; `finished` is false if it was cut off."""

    text: str
    finished: bool = True


@dataclass(frozen=True, slots=True)
class DrawnSamples:
    """Samples at one step: a completion for each prompt, at temperature 1, and their statistics.

    Args:
        completions: One text per prompt, without special tokens.
        finished: False for completions that were cut off.
        kl: KL(policy, reference) of completions of at most `max_new_tokens`; None if it was not measured. Unit: nats.
        entropy, entropy_error: Entropy of the next-token distribution, averaged over all tokens, and its standard
            error over samples. Unit: nats.
        num_tokens: Length, the end-of-sequence token included.
        greedy: Greedy completions of the first prompts, for people; no metric is of them.
    """

    step: int
    max_new_tokens: int
    prompts: tuple[SamplePrompt, ...]
    completions: tuple[str, ...]
    finished: tuple[bool, ...]
    kl: Estimate | None
    entropy: float
    num_tokens: Estimate
    entropy_error: float = math.nan
    greedy: tuple[GreedyText, ...] = ()

    def metrics(self) -> dict[str, float]:
        """Metrics for the logs; NaN and infinite values are left out."""
        return {f"samples/{name}": value for name, value in self._numbers() if math.isfinite(value)}

    def line(self) -> "SamplesLine":
        """The line of `samples.jsonl`."""
        return SamplesLine(
            step=self.step,
            max_new_tokens=self.max_new_tokens,
            kl=None if self.kl is None else self.kl.mean,
            kl_error=None if self.kl is None else self.kl.standard_error,
            entropy=self.entropy,
            mean_tokens=self.num_tokens.mean,
            samples=tuple(
                Sample(text_of(item.prompt), completion, finished, greedy)
                for item, completion, finished, greedy in zip(
                    self.prompts, self.completions, self.finished, self._greedy_or_none(), strict=True
                )
            ),
        )

    def _greedy_or_none(self) -> tuple[GreedyText | None, ...]:
        return (*self.greedy, *[None] * (len(self.prompts) - len(self.greedy)))

    def _numbers(self) -> Iterator[tuple[str, float]]:
        if self.kl is not None:
            yield "kl", self.kl.mean
            yield "kl_error", self.kl.standard_error
        yield "entropy", self.entropy
        yield "entropy_error", self.entropy_error
        yield "num_tokens", self.num_tokens.mean
        yield "num_tokens_error", self.num_tokens.standard_error
        yield "finished", sum(self.finished) / len(self.finished)


class SampleMeasure(Protocol):
    """Further metrics of the samples of an evaluation, such as a judge's win rate.

    They are logged, and checkpoints can be chosen by them. Called on the main process alone.
    """

    def __call__(self, drawn: DrawnSamples, start: Sequence[str]) -> Mapping[str, float]:
        """Values by name, without `eval_`."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A completion of the policy, as text.

    Args:
        greedy: The greedy completion of the same prompt; None if there is none, as beyond the first eight prompts.
    """

    prompt: str
    completion: str
    finished: bool = True
    greedy: GreedyText | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplesLine:
    """A line of `samples.jsonl`: all samples drawn at one step.

    Args:
        kl, kl_error: KL to the reference and its standard error; None if it was not measured. Unit: nats.
        entropy: Entropy of the next-token distribution, averaged over all tokens. Unit: nats.
    """

    step: int
    max_new_tokens: int | None = None
    kl: float | None = None
    kl_error: float | None = None
    entropy: float | None = None
    mean_tokens: float | None = None
    samples: tuple[Sample, ...] = ()


class SamplesFile:
    """The file `samples.jsonl`: one line per step at which samples were drawn."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> list[SamplesLine]:
        """All lines in file order; an incomplete last line is left out.

        Raises:
            DataError: the file is damaged.
        """
        found = read_json_lines(self._path)
        try:
            return [from_json(SamplesLine, line) for line in found]
        except ValueError as error:
            raise DataError(f"{self._path}: was written by another version of preftune. {error}. Delete it.") from None

    def line_of(self, step: int) -> SamplesLine | None:
        """The samples drawn after `step` optimizer steps; None if none were."""
        return next((line for line in self.lines() if line.step == step), None)

    def keep_until(self, step: int) -> None:
        """Delete the lines of later steps, which a run that resumes from a checkpoint of `step` draws again."""
        lines = self.lines()
        kept = [line for line in lines if line.step <= step]
        if len(kept) < len(lines) or not self._is_complete():
            write_whole(self._path, "".join(map(json_line, kept)))

    def append(self, line: SamplesLine) -> None:
        """Add a line, unless the file has one of the same step."""
        if self.line_of(line.step) is None:
            append_json_line(self._path, line)

    def _is_complete(self) -> bool:
        return not self._path.is_file() or self._path.read_bytes()[-1:] in (b"", b"\n")
