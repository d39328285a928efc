"""The part of an evaluation that draws samples: what they tell, what a judge says of them, best-of-N."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from preftune.errors import ConfigError
from preftune.evaluation.best_of import BestOf, best_samples, rate_best
from preftune.evaluation.by_prompt import PromptRecord, record_verdicts
from preftune.evaluation.drawing import Drawer
from preftune.evaluation.opponents import compare, draw_from_reference, find_opponent
from preftune.evaluation.samples import Samples, evaluate_samples
from preftune.evaluation.win_rate import WinRate, rate_wins
from preftune.judges.judge import Comparison, Judge
from preftune.judges.judging import judge_comparisons
from preftune.metrics.implicit_reward import ImplicitReward
from preftune.model.generation.completions import Generation
from preftune.model.generation.sample_values import groups_of_samples
from preftune.model.load.evaluated_models import Models
from preftune.runs.samples import SamplePrompts
from preftune.settings.evaluation_config import EvaluationConfig
from preftune.settings.sampling import Sampling

__all__ = ["Sampled", "check_models", "evaluate_sampled"]

Drawn = Sequence[Sequence[Generation]]


@dataclass(frozen=True, slots=True)
class Sampled:
    """What samples told; fields as in `EvaluationResult`."""

    samples: Samples | None = None
    win_rates: tuple[WinRate, ...] = ()
    best_of: BestOf | None = None


def check_models(config: EvaluationConfig, models: Models) -> None:
    """Make sure that there is a reference where the settings need one.

    Raises:
        ConfigError: there is none.
    """
    problems = []
    advice = "the model is of no run, so it has no reference. Name one with --reference"
    if config.judge.against == "reference" and not models.has_reference:
        problems.append(f"against = reference: {advice}, or another opponent.")
    if config.samples.best_of is not None and models.reward is None:
        problems.append(f"best_of: the implicit reward needs a reference, and {advice}.")
    elif config.samples.best_of is not None and config.samples.best_of_from == "reference" and not models.has_reference:
        problems.append(f"best_of_from = reference: {advice}, or use policy.")
    if problems:
        raise ConfigError(problems)


def evaluate_sampled(
    config: EvaluationConfig,
    models: Models,
    prompts: SamplePrompts,
    drawer: Drawer,
    judge: Judge | None,
    *,
    say: Callable[[str], None],
    by_prompt: PromptRecord | None = None,
) -> Sampled:
    """Draw samples and find out what they tell.

    Args:
        config: The settings.
        models: What is evaluated.
        prompts: What is continued.
        drawer: Draws, and keeps what was drawn; its store keeps verdicts as well.
        judge: Who compares; None for nobody.
        say: Takes lines on what became of the judge's questions.
        by_prompt: Gets what is known of each prompt; None to do without.
    Raises:
        PreftuneError: a judge or model that does not work, or settings that do not fit the models.
    """
    work = _Work(config, models, prompts, drawer, judge, say, by_prompt)
    return Sampled(
        samples=work.samples() if config.num_samples else None,
        win_rates=tuple(work.win_rates()) if judge is not None and config.num_samples else (),
        best_of=work.best_of(config.samples.best_of) if config.samples.best_of is not None else None,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    config: EvaluationConfig
    models: Models
    prompts: SamplePrompts
    drawer: Drawer
    judge: Judge | None
    say: Callable[[str], None]
    by_prompt: PromptRecord | None

    def samples(self) -> Samples:
        plain = self.config.sampling()
        drawn = self._draw(plain)
        of_reference = (
            self._draw_from_reference(self.config.sampling(role="opponent")) if self.models.has_reference else None
        )
        return evaluate_samples(
            self.models.policy,
            self.models.reference_beside,
            drawn,
            of_reference,
            self.models.policy_runner,
            prompts=self.prompts.texts,
            max_new_tokens=plain.max_new_tokens,
            bootstrap=self.config.bootstrap,
            by_prompt=self.by_prompt,
        )

    def win_rates(self) -> list[WinRate]:
        """By temperature."""
        opponent = find_opponent(self.config, self.models, self.prompts, self.drawer)
        found = []
        for temperature in self.config.samples.temperature:
            theirs = opponent.texts(self.config.sampling(temperature, role="opponent"))
            comparisons = compare(self.prompts, self._draw(self.config.sampling(temperature)), theirs)
            rate = self._judged(comparisons, against=opponent.name, temperature=temperature)
            found += [rate] if rate is not None else []
        return found

    def best_of(self, num_samples: int) -> BestOf:
        """Best of so many samples at temperature 1, beside the policy's own sample."""
        reward = self.models.reward
        assert reward is not None, "check_models lets nothing without a reward get here"
        source = self.config.samples.best_of_from
        many = self.config.sampling(num_samples=num_samples, role="best")
        drawn = self._draw(many) if source == "policy" else self._draw_from_reference(many)
        best, best_rewards = best_samples(drawn, self._rewards(drawn, reward))
        plain = [samples[:1] for samples in self._draw(self.config.sampling(num_samples=1))]
        plain_rewards = self._rewards(plain, reward).tolist()
        win_rate = None
        if self.judge is not None:
            comparisons = compare(self.prompts, [[item] for item in best], [[item.text] for (item,) in plain])
            win_rate = self._judged(comparisons, against="policy", temperature=1.0)
        return rate_best(
            list(zip(best, best_rewards, strict=True)),
            [(sample, value) for (sample,), value in zip(plain, plain_rewards, strict=True)],
            num_samples=num_samples,
            source=source,
            win_rate=win_rate,
            bootstrap=self.config.bootstrap,
        )

    def _judged(self, comparisons: Sequence[Comparison], *, against: str, temperature: float) -> WinRate | None:
        assert self.judge is not None, "nobody to ask"
        store = self.drawer.store
        judged = judge_comparisons(self.judge, comparisons, store, show_progress=self.drawer.show_progress)
        num_left = sum(not item.is_complete for item in judged)
        if self.by_prompt is not None and against != "policy":  # best-of-N is no measure of the policy itself
            record_verdicts(self.by_prompt, judged)
        if num_left:
            self.say(
                f"judge: {num_left:,} of {len(judged):,} comparisons have no verdict and do not count; run the same "
                "command again to ask for those that were not answered"
            )
        return rate_wins(
            judged,
            judge=self.judge.name,
            against=against,
            temperature=temperature,
            bootstrap=self.config.bootstrap,
        )

    def _draw(self, sampling: Sampling) -> list[list[Generation]]:
        models = self.models
        return self.drawer.draw(
            models.policy, models.tokenizer, self.prompts.texts, sampling, realignment=models.realignment
        )

    def _draw_from_reference(self, sampling: Sampling) -> list[list[Generation]]:
        return draw_from_reference(self.models, self.prompts, sampling, self.drawer)

    def _rewards(self, drawn: Drawn, reward: ImplicitReward) -> Tensor:
        """Implicit rewards of all samples. Shape: (completion,)."""
        logps = self.models.logps(groups_of_samples(drawn), with_reference=reward.needs_reference)
        return reward.of(logps)
