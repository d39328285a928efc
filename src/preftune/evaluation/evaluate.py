"""An evaluation: data, models, preferences, samples, verdicts, result."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from torch import Tensor

from preftune.data.load import LoadedGroups
from preftune.data.tokens.chat import ChatFormat
from preftune.errors import ConfigError
from preftune.evaluation.best_of import BestOf, best_samples, rate_best
from preftune.evaluation.by_prompt import PromptRecord, record_verdicts
from preftune.evaluation.drawing import Drawer
from preftune.evaluation.held_out import describe, read_groups, tokens_of
from preftune.evaluation.preferences import Preferences, evaluate_preferences
from preftune.evaluation.prompts import read_prompts
from preftune.evaluation.result import EvaluationResult
from preftune.evaluation.samples import Samples, evaluate_samples
from preftune.evaluation.win_rate import WinRate, compare, draw_from_reference, find_opponent, rate_wins
from preftune.files.outputs import check_output
from preftune.groups import PromptGroup
from preftune.judges.judge import Comparison, Judge
from preftune.judges.judging import find_judge, judge_comparisons
from preftune.judges.store import EvaluationStore, evaluation_path
from preftune.metrics.implicit_reward import ImplicitReward
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.model_size import context_length
from preftune.model.generation.completions import Generation
from preftune.model.generation.sample_values import groups_of_samples
from preftune.model.load.evaluated_models import Models, load_models
from preftune.runs.samples import SamplePrompts, sample_prompts
from preftune.settings.evaluation_config import EvaluationConfig
from preftune.settings.sampling import Sampling


def evaluate(
    config: EvaluationConfig, *, console: Console | None = None, by_prompt: PromptRecord | None = None
) -> EvaluationResult:
    """Evaluate a model, and write the result file if `config` names one.

    Args:
        console: Shows progress. Default: nothing is shown.
        by_prompt: Receives the metrics of each prompt.
    Raises:
        PreftuneError: anything that a user can put right: settings, data, models, judge, result file.
    """
    return _Evaluation(config, console or Console(quiet=True), by_prompt).run()


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """The parts of an evaluation in the order in which they can fail: cheap checks first."""

    config: EvaluationConfig
    console: Console
    by_prompt: PromptRecord | None = None

    def run(self) -> EvaluationResult:
        self._check_result_file()
        arithmetic = Arithmetic.of(self.config.model)
        trusts = self.config.model.trust_remote_code
        judge = find_judge(self.config.judge, arithmetic, trust_remote_code=trusts) if self.config.judge.judge else None
        loaded = self._read()
        models = load_models(self.config, arithmetic, show_progress=self._shows_progress)
        _check_reference(self.config, models)
        self.say(models.reason)
        self.say(f"reference: {models.reference_name or 'none'}")
        chat = ChatFormat.of(models.tokenizer, self.config.model.chat_choice)
        self.say(chat.line(group.prompt for group in loaded.groups) if loaded is not None else chat.line(()))
        if (strength := self.config.reference.strength) is not None:
            self.say(f"strength: {strength:g}, of a mix of the reference (0) and the model (1)")
        preferences = None if loaded is None else self._preferences(models, loaded)
        samples: Samples | None = None
        win_rates: tuple[WinRate, ...] = ()
        best_of: BestOf | None = None
        if self.config.draws:
            fitted = self._fitted(models)
            prompts = fitted._prompts(models, loaded.groups if loaded is not None else [])
            samples, win_rates, best_of = fitted._drawn(models, prompts, judge, arithmetic)
        result = EvaluationResult(
            model=self.config.model.model,
            reference=models.reference_name,
            data=self.config.sources,
            confidence=self.config.intervals.confidence,
            num_resamples=self.config.intervals.resamples,
            seed=self.config.samples.seed,
            preferences=preferences,
            samples=samples,
            win_rates=win_rates,
            best_of=best_of,
            strength=strength,
        )
        if self.config.result_file is not None:
            result.write(self.config.result_file)
        return result

    @property
    def _shows_progress(self) -> bool:
        return self.console.is_terminal and not self.console.quiet

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _check_result_file(self) -> None:
        path, settings = self.config.result_file, self.config.result
        if settings.json is not None and path is not None:
            check_output("json", path, overwrite=settings.overwrite)

    def _read(self) -> LoadedGroups | None:
        if not self.config.has_data:
            return None
        loaded = read_groups(self.config, show_progress=self._shows_progress)
        for line in describe(loaded):
            self.say(line)
        return loaded

    def _preferences(self, models: Models, loaded: LoadedGroups) -> Preferences:
        context = context_length(models.policy.config)
        groups, notes = tokens_of(
            loaded.groups, models.tokenizer, self.config, context, show_progress=self._shows_progress
        )
        for note in notes:
            self.say(note)
        models.check_fits(groups)
        return evaluate_preferences(
            groups,
            models.kept_logps(groups, self.say),
            models.reward,
            bootstrap=self.config.bootstrap,
            num_bins=self.config.intervals.bins,
            by_prompt=self.by_prompt,
        )

    def _fitted(self, models: Models) -> "_Evaluation":
        """The same evaluation with the length of samples set. The console says if it is shorter than the default."""
        num_tokens = self.config.max_new_tokens(context_length(models.policy.config))
        if num_tokens != self.config.max_new_tokens():
            self.say(f"max_new_tokens: {num_tokens:,}, half of the model's positions")
        samples = replace(self.config.samples, max_new_tokens=num_tokens)
        return replace(self, config=replace(self.config, samples=samples))

    def _prompts(self, models: Models, groups: list[PromptGroup]) -> SamplePrompts:
        settings, num_tokens = self.config.samples, self.config.max_new_tokens()
        context = context_length(models.policy.config)
        if context is not None and num_tokens >= context:
            raise ConfigError(
                [
                    f"max_new_tokens = {num_tokens:,}: the model has positions for {context:,} tokens, "
                    "prompts included. Lower it."
                ]
            )
        prompts = sample_prompts(
            groups if settings.prompts is None else read_prompts(settings.prompts),
            models.tokenizer,
            self.config.model.chat_choice,
            count=settings.num_prompts,
            longest=None if context is None else context - num_tokens,
        )
        self.say(str(prompts))
        return prompts

    def _drawn(
        self, models: Models, prompts: SamplePrompts, judge: Judge | None, arithmetic: Arithmetic
    ) -> tuple[Samples | None, tuple[WinRate, ...], BestOf | None]:
        """Estimates from samples, win rates and best-of-N, as requested."""
        config = self.config
        store = EvaluationStore(evaluation_path())
        drawer = Drawer(
            store, arithmetic, config.memory.batch_tokens, self._shows_progress, chat=config.model.chat_choice
        )
        work = _Sampling(self, models, prompts, drawer, judge)
        try:
            return (
                work.samples() if config.num_samples else None,
                tuple(work.win_rates()) if judge is not None and config.num_samples else (),
                work.best_of(config.samples.best_of) if config.samples.best_of is not None else None,
            )
        except KeyboardInterrupt:
            self.say(f"stopped: samples and verdicts are stored in {store.path}; the same command continues from there")
            raise
        finally:
            store.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Sampling:
    """The part of an evaluation that draws samples."""

    evaluation: _Evaluation
    models: Models
    prompts: SamplePrompts
    drawer: Drawer
    judge: Judge | None

    @property
    def config(self) -> EvaluationConfig:
        return self.evaluation.config

    def samples(self) -> Samples:
        plain = self.config.sampling()
        drawn = self._draw(plain)
        has_reference = self.models.has_reference
        return evaluate_samples(
            self.models.policy,
            self.models.reference_beside,
            drawn,
            self._draw_from_reference(self.config.sampling(role="opponent")) if has_reference else None,
            self.models.policy_runner,
            prompts=self.prompts.texts,
            max_new_tokens=plain.max_new_tokens,
            bootstrap=self.config.bootstrap,
            by_prompt=self.evaluation.by_prompt,
        )

    def win_rates(self) -> list[WinRate]:
        """Win rates by temperature."""
        opponent = find_opponent(self.config, self.models, self.prompts, self.drawer)
        found = []
        for temperature in self.config.samples.temperature:
            theirs = opponent.texts(self.config.sampling(temperature, role="opponent"))
            comparisons = compare(self.prompts, self._draw(self.config.sampling(temperature)), theirs)
            rate = self._judged(comparisons, against=opponent.name, temperature=temperature)
            found += [rate] if rate is not None else []
        return found

    def best_of(self, num_samples: int) -> BestOf:
        """Best of `num_samples` samples at temperature 1, beside a plain sample of the policy."""
        reward = self.models.reward
        assert reward is not None, "_check_reference refuses models without a reward"
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
        assert self.judge is not None, "called only with a judge"
        store, by_prompt = self.drawer.store, self.evaluation.by_prompt
        judged = judge_comparisons(self.judge, comparisons, store, show_progress=self.drawer.show_progress)
        num_left = sum(not item.is_complete for item in judged)
        if by_prompt is not None and against != "policy":  # best-of-N is no measure of the policy itself
            record_verdicts(by_prompt, judged)
        if num_left:
            self.evaluation.say(
                f"judge: {num_left:,} of {len(judged):,} comparisons have no verdict and do not count; run the same "
                "command again to ask for those that were not answered"
            )
        return rate_wins(
            judged, judge=self.judge.name, against=against, temperature=temperature, bootstrap=self.config.bootstrap
        )

    def _draw(self, sampling: Sampling) -> list[list[Generation]]:
        models = self.models
        return self.drawer.draw(
            models.policy, models.tokenizer, self.prompts.asked, sampling, realignment=models.realignment
        )

    def _draw_from_reference(self, sampling: Sampling) -> list[list[Generation]]:
        return draw_from_reference(self.models, self.prompts, sampling, self.drawer)

    def _rewards(self, drawn: Sequence[Sequence[Generation]], reward: ImplicitReward) -> Tensor:
        """Implicit rewards of all samples. Shape: (completion,)."""
        return reward.of(self.models.logps(groups_of_samples(drawn), with_reference=reward.needs_reference))


def _check_reference(config: EvaluationConfig, models: Models) -> None:
    """Make sure that there is a reference if the settings need one."""
    problems = []
    advice = "the model is not a run, so it has no reference. Name one with --reference"
    if config.judge.against == "reference" and not models.has_reference:
        problems.append(f"against = reference: {advice}, or another opponent.")
    if config.samples.best_of is not None and models.reward is None:
        problems.append(f"best_of: the implicit reward needs a reference, and {advice}.")
    elif config.samples.best_of is not None and config.samples.best_of_from == "reference" and not models.has_reference:
        problems.append(f"best_of_from = reference: {advice}, or use policy.")
    if problems:
        raise ConfigError(problems)
