"""Settings that only an evaluation has, by topic."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from preftune.settings.sampling import strength_problems
from preftune.settings.setting import Section, setting


@dataclass(frozen=True, kw_only=True, slots=True)
class ReferenceSettings(Section):
    """The model that the evaluated model is compared with, and the scale of implicit rewards."""

    title: ClassVar[str] = "Reference"

    reference: str | None = setting(
        None,
        "Reference model, or none. Default: the starting model of a run, the base model of an adapter.",
        is_path=True,
    )
    beta: float | None = setting(
        None,
        "Implicit reward per nat of logratio. Default: beta of the run, else 0.1; both divided by the strength.",
        within="(0, inf)",
    )
    strength: float | None = setting(
        None,
        "Evaluate a mix of reference and model, which approximates training with beta / strength: 0 is the reference, "
        "1 the model, above 1 extrapolates. Default: 1.",
    )

    def conflicts(self) -> Iterator[str]:
        """Messages about values that cannot work together."""
        if self.strength is not None:
            yield from strength_problems(self.strength)
            if self.reference == "none":
                yield f"strength = {self.strength}: mixes in the reference, and reference is none. Leave one out."


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleSettings(Section):
    """Samples of the model, for KL, entropy, lengths and win rates."""

    title: ClassVar[str] = "Samples"

    samples: int | None = setting(
        None,
        "Completions to sample per prompt, for KL, entropy, lengths and win rates. Default: 1 with a judge, else 0.",
        within="[0, inf)",
    )
    prompts: str | None = setting(
        None,
        "File of prompts: .txt with one per line, or a data file. Default: the prompts of the data.",
        is_path=True,
    )
    num_prompts: int | None = setting(
        256, "Maximum number of prompts to sample from, spread evenly over the data.", within="[1, inf)"
    )
    max_new_tokens: int | None = setting(
        None,
        "Maximum length of a completion, in tokens. Default: 256, or half of the model's positions if that is less.",
        within="[1, inf)",
    )
    temperature: list[float] = setting(
        [1.0],
        "Sampling temperature for the judge. KL and entropy are always measured at temperature 1.",
        within="[0, inf)",
        because="where 0 takes the most likely token",
    )
    top_p: float = setting(
        1.0,
        "For the judge: sample from the most likely tokens with this total probability.",
        within="(0, 1]",
    )
    top_k: int = setting(
        0, "For the judge: sample from this many of the most likely tokens; 0: all tokens.", within="[0, inf)"
    )
    best_of: int | None = setting(
        None,
        "Also evaluate best-of-N sampling by implicit reward, with N completions per prompt.",
        within="[2, inf)",
        because="as one completion leaves no choice",
        not_swept="points are compared by single samples",
    )
    best_of_from: Literal["reference", "policy"] = setting(
        "reference",
        "Model from which best-of-N completions are sampled.",
        not_swept="points are compared by single samples",
    )
    seed: int = setting(
        0,
        "Random seed for samples and intervals.",
        within="[0, inf)",
        not_swept="points are compared on the same prompts and random numbers",
    )

    def conflicts(self) -> Iterator[str]:
        """Messages about values that cannot work together."""
        if not self.temperature:
            yield "temperature: is empty. Give at least one."
        if len(set(self.temperature)) < len(self.temperature):
            yield "temperature: one is named twice. Name each once."
        if 0 in self.temperature and (self.samples or 1) > 1:
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
class JudgeSettings(Section):
    """The judge of the completions, and its budget."""

    title: ClassVar[str] = "Judge"

    judge: str | None = setting(
        None,
        "Judge of completions: openai:MODEL (any compatible endpoint; set OPENAI_BASE_URL and OPENAI_API_KEY), "
        "reward:MODEL, python:MODULE:FUNCTION, or file:PATH with human verdicts.",
        is_path=True,
    )
    against: str | None = setting(
        None,
        "Opponent of the model: reference, chosen (the data's preferred completions) or another model. Default: "
        "reference, or chosen if there is no reference.",
        is_path=True,
    )
    judge_prompt: str | None = setting(
        None,
        "Prompt of an endpoint judge: dialogue, summary, concise_summary, or a Jinja file. Default: dialogue.",
        is_path=True,
    )
    judge_budget: int | None = setting(
        None,
        "Maximum number of endpoint answers to pay for in this command. Default: no limit.",
        changes="speed",
        within="[1, inf)",
    )
    judge_concurrency: int = setting(
        8, "Maximum number of simultaneous calls to an endpoint.", changes="speed", within="[1, inf)"
    )
    judge_timeout: float = setting(
        60.0, "Time-out of a call to an endpoint, in seconds.", changes="speed", within="(0, inf]"
    )

    def conflicts(self) -> Iterator[str]:
        """Messages about values that cannot work together."""
        if self.judge is None and self.against is not None:
            yield f"against = {self.against}: there is no judge to compare. Name one with --judge, or leave it out."
        if self.judge is None:
            return
        yield from judge_problems(self.judge, JUDGE_KINDS)
        for name, value in {"judge_prompt": self.judge_prompt, "judge_budget": self.judge_budget}.items():
            if split_judge(self.judge)[0] != "openai" and value is not None:
                yield f"{name} = {value}: is for endpoints (--judge openai:MODEL) only. Leave it out."


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalSettings(Section):
    """Confidence intervals and the reliability curve."""

    title: ClassVar[str] = "Intervals"

    resamples: int = setting(1000, "Bootstrap resamples of the prompts for each interval.", within="[1, inf)")
    confidence: float = setting(
        0.95, "Confidence level of the intervals, in (0, 1).", within="(0, 1)", because="such as 0.95"
    )
    bins: int = setting(10, "Bins of the reliability curve.", within="[1, inf)")


@dataclass(frozen=True, kw_only=True, slots=True)
class MemorySettings(Section):
    """Memory budgets of forward passes and of generation."""

    title: ClassVar[str] = "Memory"

    max_tokens: int = setting(
        8192,
        "Memory budget of a forward pass, in tokens. A larger group runs alone.",
        changes="speed",
        within="[2, inf)",
    )
    batch_tokens: int = setting(
        16_384,
        "Memory budget of a batch of samples, in tokens, including those to be generated.",
        within="[1, inf)",
        used_by=("generate",),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultSettings(Section):
    """The file of the result."""

    title: ClassVar[str] = "Result"

    json: str | None = setting(
        None,
        "File for the result, as JSON. Default: evaluation.json in the run folder.",
        changes="folder",
        is_path=True,
    )
    overwrite: bool = setting(False, "Replace an existing result file.", changes="folder")

    def conflicts(self) -> Iterator[str]:
        """Messages about values that cannot work together."""
        if self.json == "":
            yield "json: is empty. Name a file, or leave it out."
        if self.overwrite and self.json is None:
            yield "overwrite: evaluation.json of a run is replaced anyway. Name a file with --json, or leave it out."
