"""Samples that a run draws from its model, who rates them, and which checkpoint becomes its model."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from preftune.losses import Method
from preftune.metrics.catalogue import METRICS, REWARD_AT_KL_BUDGET, best_metrics
from preftune.settings.data import DataSettings
from preftune.settings.evaluation_sections import judge_problems, split_judge
from preftune.settings.sections import OutputSettings
from preftune.settings.setting import setting

__all__ = ["ChoiceSettings", "Direction", "DrawSettings"]

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
    if split_judge(judge)[0] in ("openai", "file"):
        yield (
            f"judge = {judge}: cannot rate while a run trains: the run would wait for answers at every evaluation, and "
            "be paid for or fail by them. Judge the checkpoints afterwards: preftune eval --model "
            f"RUN/checkpoint-N --judge {judge}."
        )
    else:
        yield from judge_problems(judge, ("reward", "python"))


Direction = Literal["higher", "lower"]
"""Direction in which a metric improves."""

_CHOOSABLE: Mapping[str, Direction] = {
    name: metric.direction for name, metric in METRICS.items() if metric.direction != "none"
}
"""Metrics of the catalogue that a best checkpoint can be chosen by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceSettings:
    """Checkpoint choice"""

    keep: Literal["last", "best"] = setting(
        "last", "Which weights become the run's model: of the last step, or of the best evaluation."
    )
    metric: str | None = setting(
        None,
        "What best means, on held-out data: loss, rewards/accuracies, rewards/margins or another that is logged; with "
        "a judge win_rate, reward or reward_at_kl_budget; of a measure of your own NAME:higher or NAME:lower. Default: "
        "rewards/accuracies, or loss where there is none.",
    )
    kl_budget: float | None = setting(
        None,
        "For metric = reward_at_kl_budget: most KL of the samples to the reference, in nats, at which an evaluation "
        "may be the best.",
    )
    early_stopping: int | None = setting(
        None, "End the run after so many evaluations in a row without a new best. Needs keep = best."
    )

    def problems(self) -> Iterator[str]:
        """What cannot work, one text each."""
        if self.keep == "last":
            chooses = {"metric": self.metric, "kl_budget": self.kl_budget, "early_stopping": self.early_stopping}
            for name, value in chooses.items():
                if value is not None:
                    yield f"{name} = {value}: chooses nothing while keep is last. Set keep to best, or leave it out."
        if self.early_stopping is not None and self.early_stopping < 1:
            yield f"early_stopping = {self.early_stopping}: must be at least 1."
        if self.kl_budget is not None and not (math.isfinite(self.kl_budget) and self.kl_budget > 0):
            yield f"kl_budget = {self.kl_budget}: must be above 0, in nats."

    @property
    def needs_kl(self) -> bool:
        """Whether the KL of samples is needed to choose by."""
        return self.metric == REWARD_AT_KL_BUDGET

    def problems_with(
        self, method: Method, data: DataSettings, output: OutputSettings, draws: DrawSettings
    ) -> Iterator[str]:
        """What does not go with the method, the data, the judge or when the run evaluates and saves, one text each."""
        if self.keep == "last":
            return
        if not data.holds_out:
            yield (
                "keep = best: nothing is held out, so that no checkpoint can be told from another. Hold out a part "
                "with --eval-fraction 0.05, or give --eval-data."
            )
        yield from self._metric_problems(method, has_judge=draws.judge is not None)
        yield from self._budget_problems()
        every, save = output.eval_every, output.save_every
        if save is not None and save != every:
            evaluated = "at the end of each epoch" if every is None else f"every {every} steps"
            yield (
                f"save_every = {save}: keep = best chooses among checkpoints that were evaluated, and the run "
                f"evaluates {evaluated}. Leave save_every out: there is a checkpoint at each evaluation then."
            )

    def chosen_by(self, method: Method) -> tuple[str, Direction]:
        """The metric, and which way is better.

        >>> ChoiceSettings(keep="best").chosen_by(Method.named("dpo"))
        ('rewards/accuracies', 'higher')
        >>> ChoiceSettings(keep="best", metric="win_rate:higher").chosen_by(Method.named("dpo"))
        ('win_rate', 'higher')
        """
        if self.metric is None:
            measured = list(best_metrics(method, has_judge=False))
            name = "rewards/accuracies" if "rewards/accuracies" in measured else "loss"
            return name, _CHOOSABLE[name]
        name, _, direction = self.metric.partition(":")
        if direction:
            return name, "higher" if direction == "higher" else "lower"
        return name, _CHOOSABLE[name]

    def _budget_problems(self) -> Iterator[str]:
        if self.needs_kl and self.kl_budget is None:
            yield f"metric = {self.metric}: which budget? Set it with --kl-budget, in nats."
        if not self.needs_kl and self.kl_budget is not None:
            yield (
                f"kl_budget = {self.kl_budget:g}: is for metric = {REWARD_AT_KL_BUDGET} only. Set metric to that, or "
                "leave it out."
            )

    def _metric_problems(self, method: Method, *, has_judge: bool) -> Iterator[str]:
        if self.metric is None:
            return
        measured = list(best_metrics(method, has_judge=has_judge))
        name, separator, direction = self.metric.partition(":")
        if separator:
            if direction not in ("higher", "lower") or not name:
                yield f"metric = {self.metric}: which way is better is said by NAME:higher or NAME:lower."
        elif name not in _CHOOSABLE:
            near = get_close_matches(name, _CHOOSABLE, n=1)
            hint = f"Did you mean {near[0]}? " if near else ""
            yield (
                f"metric = {name}: is not known, nor which way it is better. {hint}Metrics of method {method.name}: "
                f"{', '.join(measured)}. For a measure of your own write {name}:higher or {name}:lower."
            )
        elif METRICS[name].source == "judge" and not has_judge:
            yield (
                f"metric = {name}: takes a judge of samples. Name one with --judge reward:MODEL or "
                f"python:MODULE:FUNCTION; for a measure of your own write {name}:higher or {name}:lower."
            )
        elif name not in measured:
            yield (
                f"metric = {name}: method {method.name} does not give it. It gives {', '.join(measured)}. Set "
                "metric to one of these."
            )
