"""Judge of a run's samples during training: win rate and mean score at each evaluation."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import torch

from preftune.errors import ConfigError, JudgeError
from preftune.judges.function import ScoringJudge
from preftune.judges.judge import Comparison, Judge
from preftune.judges.judging import find_judge, judge_comparisons
from preftune.metrics.catalogue import REWARD_AT_KL_BUDGET
from preftune.metrics.intervals import Estimate
from preftune.model.forward.arithmetic import Arithmetic
from preftune.ranks import on_main
from preftune.runs.samples import DrawnSamples, SampleMeasure
from preftune.settings import TrainConfig
from preftune.settings.evaluation_sections import JudgeSettings


def judged_measures(config: TrainConfig) -> list[SampleMeasure]:
    """Measures of samples for a run's settings: one of the judge, or none without a judge.

    Raises:
        JudgeError: the judge cannot be found or loaded.
        ConfigError: the metric needs scores, and the judge only compares.
    """
    name, choice = config.samples.judge, config.choice
    if name is None:
        return []
    found: list[Judge] = []  # it is asked on the main process alone, and may be a large model
    on_main(lambda: found.append(_judge_of(config, name)))
    return [JudgedSamples(next(iter(found), None), against=config.samples.judge_against, kl_budget=choice.kl_budget)]


def _judge_of(config: TrainConfig, name: str) -> Judge:
    judge = find_judge(
        JudgeSettings(judge=name), Arithmetic.of(config.model), trust_remote_code=config.model.trust_remote_code
    )
    choice = config.choice
    if choice.metric in ("reward", REWARD_AT_KL_BUDGET) and not isinstance(judge, ScoringJudge):
        raise ConfigError(
            [
                f"metric = {choice.metric}: judge = {name} compares two completions and gives no score. Set metric to "
                "win_rate, or name a judge that scores: reward:MODEL, or a function of (prompt, completion)."
            ]
        )
    return judge


class JudgedSamples:
    """Rates the samples of an evaluation by a judge.

    win_rate = mean over prompts of our points: 1 for a win, half for a tie, 0 for a loss
    win_rate_error = its standard error over prompts; num_judged = number of samples with a verdict
    reward   = mean score of our completions, where the judge scores
    reward_at_kl_budget = reward where the KL of the samples is within the budget, else minus infinity

    The samples before the first step are drawn by the same seed as later ones, so that a policy that has not moved
    ties with itself: at step 0 the rate is 0.5. As all evaluations have the same opponent and the same prompts, they
    can be compared with each other; for a rate with an interval, on more prompts, there is `preftune eval`.

    Args:
        judge: The judge; None on all processes but the main one.
        against: Opponent: samples before the first step, or the chosen completions of the data.
        kl_budget: Maximum KL in nats; None for no limit.
    """

    def __init__(self, judge: Judge | None, *, against: Literal["start", "chosen"], kl_budget: float | None) -> None:
        self._judge = judge
        self._against = against
        self._kl_budget = kl_budget

    def __call__(self, drawn: DrawnSamples, start: Sequence[str]) -> Mapping[str, float]:
        """Metrics of the samples, see `SampleMeasure`.

        Raises:
            JudgeError: the judge does not work, or gave no verdict on any prompt.
            ConfigError: none of the prompts has a chosen answer.
        """
        assert self._judge is not None, "the main process asks"
        comparisons = list(self._comparisons(drawn, start))
        if not comparisons:
            raise ConfigError(["judge_against = chosen: the held-out prompts have no chosen answers. Set it to start."])
        judged = [item for item in judge_comparisons(self._judge, comparisons, None) if item.is_complete]
        if not judged:
            raise JudgeError(f"judge = {self._judge.name}: gave no verdict on any of {len(comparisons)} samples.")
        rate = Estimate.of(torch.tensor([np.mean(item.points) for item in judged], dtype=torch.float64))
        metrics = {"win_rate": rate.mean, "num_judged": float(rate.num_samples)}
        if rate.num_samples > 1:
            metrics["win_rate_error"] = rate.standard_error
        scores = [item.scores[0] for item in judged if item.scores is not None]
        if scores:
            score = Estimate.of(torch.tensor(scores, dtype=torch.float64))
            metrics["reward"] = score.mean
            if score.num_samples > 1:
                metrics["reward_error"] = score.standard_error
            metrics.update(self._within_budget(metrics["reward"], drawn))
        return metrics

    def _comparisons(self, drawn: DrawnSamples, start: Sequence[str]) -> Iterator[Comparison]:
        theirs: Sequence[str | None] = start
        if self._against == "chosen":
            theirs = [prompt.chosen for prompt in drawn.prompts]
        for number, (prompt, ours, other) in enumerate(zip(drawn.prompts, drawn.completions, theirs, strict=True)):
            if other is not None:
                yield Comparison(number, prompt.prompt, ours, other)

    def _within_budget(self, reward: float, drawn: DrawnSamples) -> Mapping[str, float]:
        if self._kl_budget is None:
            return {}
        assert drawn.kl is not None, "the KL is measured where a budget is set"
        return {REWARD_AT_KL_BUDGET: reward if drawn.kl.mean <= self._kl_budget else -math.inf}
