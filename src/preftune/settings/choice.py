"""Settings of the samples that a run draws and rates, and of the checkpoint that becomes its model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from preftune.errors import did_you_mean
from preftune.losses import Method
from preftune.metrics.catalogue import METRICS, REWARD_AT_KL_BUDGET, best_metrics
from preftune.settings.data import DataSettings
from preftune.settings.evaluation_sections import judge_problems, split_judge
from preftune.settings.sections import OutputSettings
from preftune.settings.setting import Section, setting

_JUDGED = 64
_PROMPTS, _TOKENS = 8, 128
_PROMPTS_ON_CPU, _TOKENS_ON_CPU = 4, 64


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawSettings(Section):
    """Completions that a run draws from its model at each evaluation, and the judge that rates them."""

    title: ClassVar[str] = "Samples"

    eval_samples: int | None = setting(
        None,
        "Number of prompts to sample at each evaluation, before the first step and after the last, for samples.jsonl, "
        "KL, entropy and lengths; 0: none. Default: 8; on a CPU 4.",
        within="[0, inf)",
        because="where 0 draws none",
    )
    eval_sample_tokens: int | None = setting(
        None, "Maximum length of a sample, in tokens. Default: 128; on a CPU 64, without a judge.", within="[1, inf)"
    )
    eval_kl: bool = setting(
        False,
        "Load the reference at each evaluation to measure the KL of the samples. Not needed with --lora or "
        "--no-reference-cache.",
        changes="course",
    )
    judge: str | None = setting(
        None,
        "Judge of the samples at each evaluation: reward:MODEL or python:MODULE:FUNCTION. Logs win_rate, and reward "
        "if the judge returns scores.",
        is_path=True,
    )
    judge_samples: int = setting(
        _JUDGED, "Number of prompts whose samples the judge rates; overrides a smaller eval_samples.", within="[1, inf)"
    )
    judge_against: Literal["start", "chosen"] = setting(
        "start", "Opponent for win_rate: samples before the first step, or the chosen completions of the data."
    )

    def conflicts(self) -> Iterator[str]:
        """Messages about values that cannot work together."""
        if self.eval_kl and self.num_prompts == 0:
            yield "eval_kl: nothing is sampled whose KL could be measured. Raise eval_samples, or leave it out."
        if self.judge is not None:
            yield from _judge_problems(self.judge)
            return
        if self.judge_samples != _JUDGED:
            yield f"judge_samples = {self.judge_samples}: there is no judge. Name one with --judge, or leave it out."
        if self.judge_against != "start":
            yield f"judge_against = {self.judge_against}: there is no judge. Name one with --judge, or leave it out."

    def problems_with(self, method: Method, data: DataSettings) -> Iterator[str]:
        """Messages about settings that do not fit the method or the data."""
        if method.needs("rewards") and self.num_prompts:
            name, value = ("eval_samples", self.eval_samples) if self.judge is None else ("judge", self.judge)
            yield f"{name} = {value}: {method.name} trains a reward model, which generates no text. Leave it out."
        if self.judge is not None and not data.holds_out:
            yield (
                f"judge = {self.judge}: rates samples at evaluations, and nothing is held out to evaluate on. Hold out "
                "a part with --eval-fraction 0.05, or give --eval-data."
            )

    def on(self, device_type: str) -> "DrawSettings":
        """The settings with the defaults of a device: on a CPU fewer and shorter samples, which take as long as steps.

        >>> DrawSettings().on("cpu").num_prompts, DrawSettings().on("cuda").num_prompts
        (4, 8)
        """
        if device_type != "cpu" or self.judge is not None:
            return self
        return replace(
            self,
            eval_samples=_PROMPTS_ON_CPU if self.eval_samples is None else self.eval_samples,
            eval_sample_tokens=self.eval_sample_tokens or _TOKENS_ON_CPU,
        )

    @property
    def num_prompts(self) -> int:
        """Prompts that are sampled at each evaluation.

        >>> DrawSettings().num_prompts, DrawSettings(judge="python:rules:polite").num_prompts
        (8, 64)
        """
        wanted = _PROMPTS if self.eval_samples is None else self.eval_samples
        return wanted if self.judge is None else max(wanted, self.judge_samples)

    @property
    def sample_tokens(self) -> int:
        """Maximum length of a sample, in tokens."""
        return self.eval_sample_tokens or _TOKENS


def _judge_problems(judge: str) -> Iterator[str]:
    if split_judge(judge)[0] in ("openai", "file"):
        yield (
            f"judge = {judge}: cannot rate during training, as the run would wait for its answers at every "
            "evaluation and fail if they fail. Judge the checkpoints afterwards: preftune eval --model "
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
class ChoiceSettings(Section):
    """The checkpoint that becomes the run's model."""

    title: ClassVar[str] = "Checkpoint choice"

    keep: Literal["last", "best"] = setting(
        "last", "Weights to save as the model: those of the last step, or of the best evaluation."
    )
    metric: str | None = setting(
        None,
        "Held-out metric that selects the best evaluation, such as loss or rewards/margins; with a judge win_rate, "
        "reward or reward_at_kl_budget; NAME:higher or NAME:lower for a custom measure. Default: rewards/accuracies, "
        "or loss for methods without it.",
    )
    kl_budget: float | None = setting(
        None,
        "Largest KL of the samples to the reference, in nats, for metric = reward_at_kl_budget.",
        within="(0, inf)",
        because="in nats",
    )
    early_stopping: int | None = setting(
        None,
        "Stop after this many evaluations in a row without a new best. Requires keep = best. Default: never.",
        within="[1, inf)",
    )

    def conflicts(self) -> Iterator[str]:
        """Messages about values that cannot work together."""
        if self.keep == "last":
            chooses = {"metric": self.metric, "kl_budget": self.kl_budget, "early_stopping": self.early_stopping}
            for name, value in chooses.items():
                if value is not None:
                    yield f"{name} = {value}: chooses nothing while keep is last. Set keep to best, or leave it out."

    @property
    def needs_kl(self) -> bool:
        """True if the choice needs the KL of samples."""
        return self.metric == REWARD_AT_KL_BUDGET

    def problems_with(
        self, method: Method, data: DataSettings, output: OutputSettings, draws: DrawSettings
    ) -> Iterator[str]:
        """Messages about settings that do not fit the method, the data, the judge or the schedule of evaluations."""
        if self.keep == "last":
            return
        if not data.holds_out:
            yield (
                "keep = best: nothing is held out, so checkpoints cannot be compared. Hold out a part with "
                " --eval-fraction 0.05, or give --eval-data."
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
        """The metric, and the direction in which it improves.

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
                yield f"metric = {self.metric}: has no direction. Write NAME:higher or NAME:lower."
        elif name not in _CHOOSABLE:
            hint = did_you_mean(name, _CHOOSABLE)
            yield (
                f"metric = {name}: there is no such metric.{' ' * bool(hint)}{hint} Metrics of method {method.name}: "
                f"{', '.join(measured)}. For your own measure write {name}:higher or {name}:lower."
            )
        elif METRICS[name].source == "judge" and not has_judge:
            yield (
                f"metric = {name}: needs a judge of samples. Name one with --judge reward:MODEL or "
                f"python:MODULE:FUNCTION; for your own measure write {name}:higher or {name}:lower."
            )
        elif name not in measured:
            yield (
                f"metric = {name}: method {method.name} does not log it. It logs {', '.join(measured)}. Set "
                "metric to one of these."
            )
