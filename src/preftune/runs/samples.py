"""Samples of a run: their prompts, their record, and the file samples.jsonl."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from transformers import PreTrainedTokenizerBase

from preftune.data.views import best_answer
from preftune.errors import DataError, TokenizerError
from preftune.files.whole_file import write_whole
from preftune.groups import PromptGroup, Text
from preftune.metrics.intervals import Estimate
from preftune.model.generation.prompts import encode_prompts, text_of

__all__ = ["DrawnSamples", "SampleMeasure", "SamplePrompt", "SamplesFile", "sample_prompts"]


@dataclass(frozen=True, slots=True)
class SamplePrompt:
    """A prompt to draw samples for.

    Args:
        prompt: What is continued.
        chosen: The data's best answer, as text; None where there is none.
    """

    prompt: Text
    chosen: str | None


def sample_prompts(
    groups: Sequence[PromptGroup], tokenizer: PreTrainedTokenizerBase, *, count: int, longest: int | None
) -> tuple[SamplePrompt, ...]:
    """Prompts spread evenly over the data: of so many stretches of them, the first that has room for a completion.

    Args:
        groups: Of the data.
        tokenizer: The policy's.
        count: How many at most.
        longest: Most tokens of a prompt; None for no limit. Longer ones are passed over.
    """
    by_prompt: dict[Text, PromptGroup] = {}
    for group in groups:
        by_prompt.setdefault(group.prompt, group)
    distinct = list(by_prompt)
    count = min(count, len(distinct))
    bounds = [place * len(distinct) // count for place in range(count + 1)] if count else []
    found = (
        next(_fitting(distinct[start:end], tokenizer, longest), None)
        for start, end in zip(bounds, islice(bounds, 1, None), strict=False)
    )
    return tuple(SamplePrompt(prompt, best_answer(by_prompt[prompt])) for prompt in found if prompt is not None)


def _fitting(prompts: Sequence[Text], tokenizer: PreTrainedTokenizerBase, longest: int | None) -> Iterator[Text]:
    for prompt in prompts:
        try:
            (ids,) = encode_prompts(tokenizer, [prompt])
        except (DataError, TokenizerError):
            continue  # reading the data for training says what is wrong with it
        if longest is None or len(ids) <= longest:
            yield prompt


@dataclass(frozen=True, slots=True)
class DrawnSamples:
    """One completion for each of some prompts, at temperature 1, and what they tell.

    Args:
        step: Optimizer steps taken.
        max_new_tokens: Where completions were cut off.
        prompts: What was continued.
        completions: What the model wrote, without special tokens.
        finished: Whether each ended by itself.
        kl: KL(policy || reference) of completions of at most `max_new_tokens`; None where it was not measured. Unit:
            nats.
        entropy: Of the next-token distribution, mean over all tokens. Unit: nats.
        num_tokens: Length, the end-of-sequence token included.
    """

    step: int
    max_new_tokens: int
    prompts: tuple[SamplePrompt, ...]
    completions: tuple[str, ...]
    finished: tuple[bool, ...]
    kl: Estimate | None
    entropy: float
    num_tokens: Estimate

    def metrics(self) -> dict[str, float]:
        """For the logs; what is no number is left out."""
        return {f"samples/{name}": value for name, value in self._numbers() if math.isfinite(value)}

    def as_dict(self) -> Mapping[str, Any]:
        """For `samples.jsonl`."""
        return {
            "step": self.step,
            "max_new_tokens": self.max_new_tokens,
            "kl": None if self.kl is None else _finite(self.kl.mean),
            "kl_error": None if self.kl is None else _finite(self.kl.standard_error),
            "entropy": _finite(self.entropy),
            "mean_tokens": self.num_tokens.mean,
            "samples": [
                {"prompt": text_of(item.prompt), "completion": completion, "finished": finished}
                for item, completion, finished in zip(self.prompts, self.completions, self.finished, strict=True)
            ],
        }

    def _numbers(self) -> Iterator[tuple[str, float]]:
        if self.kl is not None:
            yield "kl", self.kl.mean
            yield "kl_error", self.kl.standard_error
        yield "entropy", self.entropy
        yield "num_tokens", self.num_tokens.mean
        yield "num_tokens_error", self.num_tokens.standard_error
        yield "finished", sum(self.finished) / len(self.finished)


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None


class SampleMeasure(Protocol):
    """Further metrics of the samples that were drawn at an evaluation, such as a judge's win rate.

    They are logged and may choose as those of a `Measure`. Called on the main process alone, which tells the others.
    """

    def __call__(self, drawn: DrawnSamples, start: Sequence[str]) -> Mapping[str, float]:
        """Values by name, without `eval_`.

        Args:
            drawn: What the policy wrote.
            start: What it wrote before the first step, to the same prompts.
        """


_LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}


class SamplesFile:
    """`samples.jsonl`: a line for each time that samples were drawn, by the steps taken until then.

    Args:
        path: Of the file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> Iterator[dict[str, Any]]:
        """What is in it. A line whose writing was cut short is left out."""
        if not self._path.is_file():
            return
        for text in self._path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(text)
            except ValueError:
                continue

    def line_of(self, step: int) -> dict[str, Any] | None:
        """What was drawn after so many steps, if anything was."""
        return next((line for line in self.lines() if line["step"] == step), None)

    def keep_until(self, step: int) -> None:
        """Drop what was drawn later: the run goes on from a checkpoint of `step`, and comes to these steps again."""
        lines = list(self.lines())
        kept = [line for line in lines if line["step"] <= step]
        if len(kept) < len(lines) or not self._ends_whole():
            write_whole(self._path, "".join(map(_text, kept)))

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line, unless there is one of this step already."""
        if self.line_of(line["step"]) is None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_text(line))

    def _ends_whole(self) -> bool:
        return not self._path.is_file() or self._path.read_bytes()[-1:] in (b"", b"\n")


def _text(line: Mapping[str, Any]) -> str:
    """One line, also for readers that take other characters than line feeds for ends of lines, as Python does."""
    return json.dumps(line, ensure_ascii=False).translate(_LINE_ENDS) + "\n"
