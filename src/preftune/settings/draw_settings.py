"""What a run draws from its model as it trains, and who rates it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from preftune.settings.sections import DataSettings
from preftune.settings.setting import setting

__all__ = ["DrawSettings"]

_JUDGED = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawSettings:
    """Samples"""

    eval_samples: int = setting(
        8,
        "Prompts to draw a completion for before the first step, at each evaluation and after the last step, for "
        "samples.jsonl, KL, entropy and lengths; 0: none.",
    )
    eval_sample_tokens: int = setting(128, "Longest such completion, in tokens.")
    eval_kl: bool = setting(
        False,
        "Load the reference again for the KL of the samples where it has left memory. With an adapter, or with "
        "--no-reference-cache, the KL costs no memory and is there anyway.",
    )
    judge: str | None = setting(
        None,
        "Who rates the samples at each evaluation: reward:MODEL, or python:MODULE:FUNCTION, as for preftune eval. "
        "Gives win_rate, and reward where the judge scores.",
    )
    judge_samples: int = setting(_JUDGED, "Prompts whose samples the judge rates; so many are drawn then, at least.")
    judge_against: Literal["start", "chosen"] = setting(
        "start", "What win_rate compares with: the samples before the first step, or the data's chosen answers."
    )

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each."""
        if self.eval_samples < 0:
            yield f"eval_samples = {self.eval_samples}: must not be negative; 0 draws none."
        if self.eval_sample_tokens < 1:
            yield f"eval_sample_tokens = {self.eval_sample_tokens}: must be at least 1."
        if self.eval_kl and self.num_prompts == 0:
            yield "eval_kl: nothing is drawn whose KL could be measured. Raise eval_samples, or leave it out."
        if self.judge_samples < 1:
            yield f"judge_samples = {self.judge_samples}: must be at least 1."
        if self.judge is not None:
            yield from _judge_problems(self.judge)
            return
        if self.judge_samples != _JUDGED:
            yield f"judge_samples = {self.judge_samples}: there is no judge. Name one with --judge, or leave it out."
        if self.judge_against != "start":
            yield f"judge_against = {self.judge_against}: there is no judge. Name one with --judge, or leave it out."

    def problems_with(self, data: DataSettings) -> Iterator[str]:
        """What does not go with the data, one text each."""
        if self.judge is not None and not data.holds_out:
            yield (
                f"judge = {self.judge}: rates samples at evaluations, and nothing is held out to evaluate on. Hold out "
                "a part with --eval-fraction 0.05, or give --eval-data."
            )

    @property
    def num_prompts(self) -> int:
        """Prompts to draw a completion for each time.

        >>> DrawSettings().num_prompts, DrawSettings(judge="python:rules:polite").num_prompts
        (8, 64)
        """
        return self.eval_samples if self.judge is None else max(self.eval_samples, self.judge_samples)


def _judge_problems(judge: str) -> Iterator[str]:
    kind, colon, rest = judge.partition(":")
    if kind in ("openai", "file"):
        yield (
            f"judge = {judge}: cannot rate while a run trains: the run would wait for answers at every evaluation, and "
            "be paid for or fail by them. Judge the checkpoints afterwards: preftune eval --model "
            f"RUN/checkpoint-N --judge {judge}."
        )
    elif kind not in ("reward", "python") or not colon or not rest:
        yield f"judge = {judge}: must be reward:MODEL or python:MODULE:FUNCTION, so that it is clear who is asked."
    elif kind == "python" and not all(rest.partition(":")):
        yield f"judge = {judge}: must name a module and a function, such as python:my_judges:is_polite."
