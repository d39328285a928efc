"""The settings of an evaluation, by topic. Each class checks its own."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from preftune.settings.sampling import strength_problems
from preftune.settings.setting import setting

__all__ = [
    "JUDGE_KINDS",
    "IntervalSettings",
    "JudgeSettings",
    "MemorySettings",
    "ReferenceSettings",
    "ResultSettings",
    "SampleSettings",
    "judge_problems",
    "split_judge",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceSettings:
    """Reference"""

    reference: str | None = setting(
        None,
        "Model to compare with, or none. Default: of a run the one that it began from, of an adapter its base model.",
    )
    beta: float | None = setting(
        None,
        "Implicit reward per nat. Default: that of the run; 0.1 for a model that is no run; divided by the strength.",
    )
    strength: float | None = setting(
        None,
        "Evaluate a mix of reference and model, nearly what training with beta / strength gives: 0 is the reference, 1 "
        "the model, more goes beyond.",
    )

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each."""
        if self.beta is not None and not (math.isfinite(self.beta) and self.beta > 0):
            yield f"beta = {self.beta}: must be above 0."
        if self.strength is not None:
            yield from strength_problems(self.strength)
            if self.reference == "none":
                yield f"strength = {self.strength}: mixes in the reference, and reference is none. Leave one out."


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSettings:
    """Samples"""

    samples: int | None = setting(
        None, "Completions to draw per prompt, for KL, entropy, lengths and win rates. Default: 0; 1 with a judge."
    )
    prompts: str | None = setting(
        None, "File with prompts to sample from: .txt with one per line, or data. Default: the prompts of the data."
    )
    num_prompts: int | None = setting(256, "Most prompts to sample from, spread evenly over the data.")
    max_new_tokens: int = setting(256, "Longest completion, in tokens.")
    temperature: list[float] = setting(
        [1.0], "Temperature of the completions that the judge compares. KL and entropy are always of temperature 1."
    )
    top_p: float = setting(1.0, "For the judge: only the likeliest tokens that make up this share of probability.")
    top_k: int = setting(0, "For the judge: only so many of the likeliest tokens; 0: all.")
    best_of: int | None = setting(
        None, "Also draw so many completions per prompt and take the one with the highest implicit reward."
    )
    best_of_from: Literal["reference", "policy"] = setting(
        "reference", "Which model the completions of best-of-N are drawn from."
    )
    seed: int = setting(0, "Seed of samples and intervals.")

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each."""
        if self.samples is not None and self.samples < 0:
            yield f"samples = {self.samples}: must not be negative."
        if self.num_prompts is not None and self.num_prompts < 1:
            yield f"num_prompts = {self.num_prompts}: must be at least 1."
        if self.max_new_tokens < 1:
            yield f"max_new_tokens = {self.max_new_tokens}: must be at least 1."
        if not 0 < self.top_p <= 1:
            yield f"top_p = {self.top_p}: is a share of probability and must be in (0, 1]."
        if self.top_k < 0:
            yield f"top_k = {self.top_k}: must not be negative; 0 allows all tokens."
        if self.best_of is not None and self.best_of < 2:
            yield f"best_of = {self.best_of}: must be at least 2, or there is nothing to choose from."
        if self.seed < 0:
            yield f"seed = {self.seed}: must not be negative."
        yield from self._temperature_problems()

    def _temperature_problems(self) -> Iterator[str]:
        if not self.temperature:
            yield "temperature: is empty. Give at least one."
        if len(set(self.temperature)) < len(self.temperature):
            yield "temperature: one is named twice. Name each once."
        for temperature in self.temperature:
            if not (math.isfinite(temperature) and temperature >= 0):
                yield f"temperature = {temperature}: must be a number of at least 0; 0 takes the likeliest token."
            if temperature == 0 and (self.samples or 1) > 1:
                yield f"samples = {self.samples}: at temperature 0 all samples are the same. Raise the temperature."


JUDGE_KINDS = {
    "openai": "openai:MODEL",
    "reward": "reward:MODEL",
    "python": "python:MODULE:FUNCTION",
    "file": "file:PATH",
}
"""Kinds of judges and their syntax."""


def split_judge(judge: str) -> tuple[str, str]:
    """Kind and name of a judge.

    >>> split_judge("python:my_judges:prefers_short")
    ('python', 'my_judges:prefers_short')
    """
    kind, _, name = judge.partition(":")
    return kind, name


def judge_problems(judge: str, kinds: Iterable[str]) -> Iterator[str]:
    """Problems of the syntax of a judge of one of these kinds.

    >>> list(judge_problems("reward:", ["reward"]))
    ['judge = reward:: must be reward:MODEL.']
    """
    kind, name = split_judge(judge)
    known = list(kinds)
    if kind not in known or not name:
        *others, last = (JUDGE_KINDS[item] for item in known)
        yield f"judge = {judge}: must be {', '.join(others)}{' or ' if others else ''}{last}."
    elif kind == "python" and not all(name.partition(":")):
        yield f"judge = {judge}: must name a module and a function, such as python:my_judges:prefers_short."


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeSettings:
    """Judge"""

    judge: str | None = setting(
        None,
        "Who says which completion is better: openai:MODEL (any endpoint that speaks its protocol; OPENAI_BASE_URL and "
        "OPENAI_API_KEY), reward:MODEL, python:MODULE:FUNCTION, or file:PATH with verdicts of people.",
    )
    against: str | None = setting(
        None,
        "What the model is compared with: reference, chosen (the data's better answers) or another model. Default: "
        "reference, or chosen where there is no reference.",
    )
    judge_prompt: str | None = setting(
        None,
        "What an endpoint is asked: dialogue, summary, concise_summary, or your own Jinja file. Default: dialogue.",
    )
    judge_budget: int | None = setting(None, "Most answers of an endpoint to pay for, this time. Default: no limit.")
    judge_concurrency: int = setting(8, "Calls of an endpoint at a time.")
    judge_timeout: float = setting(60.0, "Seconds to wait for an answer of an endpoint.")

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each."""
        if self.judge_budget is not None and self.judge_budget < 1:
            yield f"judge_budget = {self.judge_budget}: must be at least 1."
        if self.judge_concurrency < 1:
            yield f"judge_concurrency = {self.judge_concurrency}: must be at least 1."
        if not self.judge_timeout > 0:
            yield f"judge_timeout = {self.judge_timeout}: must be above 0."
        if self.judge is None and self.against is not None:
            yield f"against = {self.against}: there is no judge to compare. Name one with --judge, or leave it out."
        if self.judge is not None:
            yield from self._kind_problems(self.judge)

    def _kind_problems(self, judge: str) -> Iterator[str]:
        yield from judge_problems(judge, JUDGE_KINDS)
        for_endpoints = {"judge_prompt": self.judge_prompt, "judge_budget": self.judge_budget}
        for name, value in for_endpoints.items():
            if split_judge(judge)[0] != "openai" and value is not None:
                yield f"{name} = {value}: is for endpoints (--judge openai:MODEL) only. Leave it out."


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalSettings:
    """Intervals"""

    resamples: int = setting(1000, "Times that the prompts are drawn anew for the intervals (bootstrap).")
    confidence: float = setting(0.95, "How often an interval is to hold the true value, in (0, 1).")
    bins: int = setting(10, "Bins of the reliability curve.")

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each."""
        if self.resamples < 1:
            yield f"resamples = {self.resamples}: must be at least 1."
        if not 0 < self.confidence < 1:
            yield f"confidence = {self.confidence}: must be between 0 and 1, such as 0.95."
        if self.bins < 1:
            yield f"bins = {self.bins}: must be at least 1."


@dataclass(frozen=True, kw_only=True, slots=True)
class MemorySettings:
    """Memory"""

    max_tokens: int = setting(
        8192, "Memory budget of one forward, in tokens. A prompt that needs more with its completions is run alone."
    )
    batch_tokens: int = setting(16_384, "Memory budget of a batch of samples, in tokens, those to come included.")

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each."""
        if self.max_tokens < 2:
            yield f"max_tokens = {self.max_tokens}: must be at least 2."
        if self.batch_tokens < 1:
            yield f"batch_tokens = {self.batch_tokens}: must be at least 1."


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultSettings:
    """Result"""

    json: str | None = setting(None, "File for the result. Default: evaluation.json in the folder of a run.")
    overwrite: bool = setting(False, "Replace that file.")

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each."""
        if self.json == "":
            yield "json: is empty. Name a file, or leave it out."
        if self.overwrite and self.json is None:
            yield "overwrite: evaluation.json of a run is replaced anyway. Name a file with --json, or leave it out."
