"""What a model wrote at one point of its training."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from preftune.metrics.estimate import Estimate
from preftune.model.generation.prompts import text_of
from preftune.runs.sample_prompts import SamplePrompt

__all__ = ["DrawnSamples", "SampleMeasure"]


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
