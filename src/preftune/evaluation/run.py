"""A whole evaluation: data, models, preferences, samples, a judge's verdicts, result."""

from dataclasses import dataclass

from rich.console import Console

from preftune.data import LoadedGroups
from preftune.errors import ConfigError, OutputError
from preftune.evaluation.by_prompt import PromptRecord
from preftune.evaluation.drawing import Drawer
from preftune.evaluation.held_out import describe, read_groups, tokens_of
from preftune.evaluation.preferences import Preferences, evaluate_preferences
from preftune.evaluation.prompt_file import read_prompts
from preftune.evaluation.result import EvaluationResult
from preftune.evaluation.sampled import Sampled, check_models, evaluate_sampled
from preftune.groups import PromptGroup
from preftune.judges.judging import find_judge
from preftune.judges.store import EvaluationStore, evaluation_path
from preftune.metrics.intervals import Bootstrap
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.model_size import context_length
from preftune.model.load.evaluated_models import Models, load_models
from preftune.runs.samples import SamplePrompts, sample_prompts
from preftune.settings.evaluation_config import EvaluationConfig

__all__ = ["evaluate"]


def evaluate(
    config: EvaluationConfig, *, console: Console | None = None, by_prompt: PromptRecord | None = None
) -> EvaluationResult:
    """Evaluate a model as `config` says, and write the result where it says.

    Args:
        config: The settings.
        console: Where progress goes; default: nowhere.
        by_prompt: Gets what was measured of each prompt; None to do without.
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
        check_models(self.config, models)
        self._say(models.reason)
        self._say(f"reference: {models.reference_name or 'none'}")
        if (strength := self.config.reference.strength) is not None:
            self._say(f"strength: {strength:g}, of a mix of the reference (0) and the model (1)")
        preferences = None if loaded is None else self._preferences(models, loaded)
        sampled = Sampled()
        if self.config.draws:
            prompts = self._prompts(models, loaded.groups if loaded is not None else [])
            store = EvaluationStore(evaluation_path())
            drawer = Drawer(store, arithmetic, self.config.memory.batch_tokens, self._shows_progress)
            try:
                sampled = evaluate_sampled(
                    self.config, models, prompts, drawer, judge, say=self._say, by_prompt=self.by_prompt
                )
            except KeyboardInterrupt:
                self._say(
                    f"stopped: samples and verdicts are kept in {store.path}; the same command goes on from there"
                )
                raise
            finally:
                store.close()
        return self._result(models, preferences, sampled)

    @property
    def _bootstrap(self) -> Bootstrap:
        return self.config.bootstrap

    @property
    def _shows_progress(self) -> bool:
        return self.console.is_terminal and not self.console.quiet

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _check_result_file(self) -> None:
        path, settings = self.config.result_file, self.config.result
        if settings.json is not None and path is not None and path.exists() and not settings.overwrite:
            raise OutputError(
                f"json = {path}: is there already. Replace it with --overwrite, or name another file with --json."
            )

    def _read(self) -> LoadedGroups | None:
        if not self.config.has_data:
            return None
        loaded = read_groups(self.config, show_progress=self._shows_progress)
        for line in describe(loaded):
            self._say(line)
        return loaded

    def _preferences(self, models: Models, loaded: LoadedGroups) -> Preferences:
        groups, notes = tokens_of(
            loaded.groups,
            models.tokenizer,
            self.config,
            context_length(models.policy.config),
            show_progress=self._shows_progress,
        )
        for note in notes:
            self._say(note)
        models.check_fits(groups)
        logps = models.kept_logps(groups, self._say)
        return evaluate_preferences(
            groups,
            logps,
            models.reward,
            bootstrap=self._bootstrap,
            num_bins=self.config.intervals.bins,
            by_prompt=self.by_prompt,
        )

    def _prompts(self, models: Models, groups: list[PromptGroup]) -> SamplePrompts:
        settings = self.config.samples
        context = context_length(models.policy.config)
        if context is not None and settings.max_new_tokens >= context:
            raise ConfigError(
                [
                    f"max_new_tokens = {settings.max_new_tokens:,}: the model has positions for {context:,} tokens, "
                    "prompts included. Lower it."
                ]
            )
        prompts = sample_prompts(
            groups if settings.prompts is None else read_prompts(settings.prompts),
            models.tokenizer,
            count=settings.num_prompts,
            longest=None if context is None else context - settings.max_new_tokens,
        )
        self._say(str(prompts))
        return prompts

    def _result(self, models: Models, preferences: Preferences | None, sampled: Sampled) -> EvaluationResult:
        config = self.config
        result = EvaluationResult(
            model=config.model.model,
            reference=models.reference_name,
            data=config.sources,
            confidence=config.intervals.confidence,
            num_resamples=config.intervals.resamples,
            seed=config.samples.seed,
            preferences=preferences,
            samples=sampled.samples,
            win_rates=sampled.win_rates,
            best_of=sampled.best_of,
            strength=config.reference.strength,
        )
        if config.result_file is not None:
            result.write(config.result_file)
        return result
