"""A whole run: prepares data and model, trains, saves, and reports the result."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from accelerate import PartialState
from peft import PeftModel
from rich.console import Console
from torch import nn
from transformers import PretrainedConfig, PreTrainedTokenizerBase, PrinterCallback, TrainingArguments, set_seed
from typing_extensions import Unpack

from preftune.errors import ConfigError
from preftune.files.outputs import writing_into
from preftune.files.terminal import PlainConsole, accept_any_text
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.forward import Forward
from preftune.model.forward.model_size import context_length, work_of
from preftune.model.load.adapter_settings import with_adapter_settings
from preftune.model.load.choose_forward import choose_forward_for
from preftune.model.load.device_memory import device_line, peak_memory_bytes
from preftune.model.load.load_model import Policy, load_config, load_policy, load_tokenizer
from preftune.model.load.reward_model import make_usable
from preftune.model.load.savable import make_savable
from preftune.model.reference.reference import FrozenCopy, KeptAdapter
from preftune.ranks import check_no_deepspeed, naming_lost_ranks, on_main
from preftune.runs.arguments import training_arguments
from preftune.runs.callbacks import WARNING, HealthCallback, MetricsFile, StopOnSignal
from preftune.runs.checkpoints import check_within_budget, choice_callbacks, guarded_saves, kept_checkpoint, save_model
from preftune.runs.folder import InputDigest, RunFolder
from preftune.runs.given_rows import config_of
from preftune.runs.inputs import check_fits, check_inputs, check_unchanged, data_digests, model_digests
from preftune.runs.judged_samples import judged_measures
from preftune.runs.logs import Log
from preftune.runs.manifest import WritesManifests
from preftune.runs.memory_budget import Pace, measure_budget
from preftune.runs.model_card import ModelCard
from preftune.runs.prepare_data import PreparedData, microbatch_budget, prepare_data
from preftune.runs.progress import ProgressDisplay
from preftune.runs.reference import SampleReference, cache_reference
from preftune.runs.result import KeptCheckpoint, RunResult, window_of
from preftune.runs.sampler import RunSamples, Sampler
from preftune.runs.samples import SampleMeasure, samples_lines
from preftune.runs.verdict import Evidence, Verdict, judgements_of
from preftune.settings import TrainConfig
from preftune.settings.keywords import TrainKeywords
from preftune.training.objective import Objective
from preftune.training.out_of_memory import OutOfMemory
from preftune.training.reference_sync import ReferenceSync
from preftune.training.steps import Batching, StepDataset
from preftune.training.trainer import Measure, PreferenceTrainer


def train(
    config: TrainConfig | None = None,
    *,
    method: str | None = None,
    console: Console | None = None,
    quiet: bool = False,
    measures: Sequence[Measure] = (),
    sample_measures: Sequence[SampleMeasure] = (),
    **settings: Unpack[TrainKeywords],
) -> RunResult:
    """Tune a model and write model, metrics and settings into the output folder.

        train(model="gpt2", data=[{"prompt": ..., "chosen": ..., "rejected": ...}, ...], output="run", beta=0.1)

    Args:
        config: The settings, instead of `method` and `settings`.
        method: Name of the method. Default: dpo.
        console: Shows progress. Default: standard output.
        quiet: Show nothing.
        settings: As for `TrainConfig.of`. `data` and `eval_data` may also be rows in memory: a list of dicts, a
            `datasets.Dataset` or a `pandas.DataFrame`. They are written to OUTPUT-data.jsonl and
            OUTPUT-eval_data.jsonl, which the run reads, so that it can be repeated, resumed and evaluated.
        measures: Further metrics of the policy, taken at every evaluation.
        sample_measures: Further metrics of the samples drawn at every evaluation, beside those of `config`'s judge.
    Returns:
        The numbers of the run, also in `summary.json`.
    Raises:
        PreftuneError: a problem that a user can solve: settings, data, model, judge, output folder, disk.
    """
    check_no_deepspeed()
    config = config_of(config, method, settings)
    check_inputs(config)
    config = with_adapter_settings(config)
    judged = (*judged_measures(config), *sample_measures)
    console = console or PlainConsole(quiet=quiet or os.environ.get("RANK", "0") != "0")
    accept_any_text(console.file)
    return _Run(config, console, ProgressDisplay(console), tuple(measures), judged).train()


@dataclass(frozen=True, slots=True, eq=False)
class _Models:
    """Policy and reference, how log-probs are computed with them, and the token budget of a micro-batch.

    `inputs` identifies the models as loaded. `work_per_second` is the speed of one rank, where the budget was measured.
    """

    policy: Policy
    forward: Forward
    max_tokens: int
    work_per_second: float | None = None
    inputs: Mapping[str, InputDigest] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Run:
    """The parts of a run in the order in which they can fail: cheap checks first."""

    config: TrainConfig
    console: Console
    progress: ProgressDisplay
    measures: tuple[Measure, ...] = ()
    sample_measures: tuple[SampleMeasure, ...] = ()

    def train(self) -> RunResult:
        arguments = training_arguments(self.config)
        folder = RunFolder(Path(self.config.output.output))
        with ExitStack() as held, naming_lost_ranks():
            ended = on_main(lambda: self._take(folder, held))
            if ended is not None:
                self._say(f"nothing to do: the run in {folder.path} has ended after {ended.num_steps:,} steps")
                return ended
            return self._train(folder, arguments)

    def _take(self, folder: RunFolder, held: ExitStack) -> RunResult | None:
        """Hold the folder for writing. Returns the result of a resumed run that has ended already."""
        held.enter_context(writing_into(folder.path, "preftune train"))
        folder.check(self.config)
        return folder.ended() if self.config.output.resume else None

    def _train(self, folder: RunFolder, arguments: TrainingArguments) -> RunResult:
        started = time.perf_counter()
        self._say(device_line(arguments.device))
        with self.progress.phase("loading the tokenizer"):
            tokenizer = load_tokenizer(self.config.model)
        data = self._prepare_data(tokenizer, load_config(self.config.model))
        before = self._inputs_at_start(folder)
        inputs = data_digests(data)
        check_unchanged(before, inputs)
        models = self._load_models(arguments, data, tokenizer)
        inputs |= models.inputs
        check_unchanged(before, inputs)
        trainer, stop = self._trainer(arguments, models, data, tokenizer, folder)
        health = HealthCallback.of(self.config, data, models.policy, self.console, rows=lambda: trainer.last_rows)
        trainer.add_callback(health)
        self._start(folder, data, inputs)
        with guarded_saves(folder), health.recording():
            trainer.train(resume_from_checkpoint=self._checkpoint(folder))
            kept = kept_checkpoint(self.config, trainer.state)
            if stop.caught is None and not health.sick:
                check_within_budget(self.config, trainer.state)
                self._save(trainer, models.policy, folder)
        logs = trainer.state.log_history
        window = window_of(trainer.state.global_step, self.config.steps.batch_size)
        result = RunResult(
            folder=str(folder.path),
            num_steps=trainer.state.global_step,
            train=RunResult.training_paths(logs, window=window),
            held_out=RunResult.held_out_paths(logs),
            seconds=trainer.tally.earlier_seconds + time.perf_counter() - started,
            peak_memory_bytes=peak_memory_bytes(),
            num_tokens=trainer.num_tokens(),
            data=data.reports,
            stopped_early=stop.caught is not None,
            stopped_sick=health.sick,
            health=health.findings,
            kept=kept,
            verdict=self._verdict(logs, data, kept, health, is_finished=stop.caught is None and not health.sick),
            chat=data.chat.removeprefix("chat: "),
        )
        if trainer.is_world_process_zero():
            environment = folder.environment()
            ModelCard.of_run(self.config, result, environment, num_steps=result.num_steps).write(folder.path)
            folder.write_summary(result)  # last, since it says that the run has ended
        return result

    def _verdict(
        self,
        logs: Sequence[Log],
        data: PreparedData,
        kept: KeptCheckpoint | None,
        health: HealthCallback,
        *,
        is_finished: bool,
    ) -> Verdict:
        samples = self.config.samples
        evidence = Evidence(
            method=self.config.method,
            logs=logs,
            held_out=data.reports.get("held out"),
            kept_step=None if kept is None else kept.step,
            judge=samples.judge,
            judge_against=samples.judge_against,
        )
        return Verdict.of(judgements_of(evidence), health.record, is_finished=is_finished, is_sick=health.sick)

    def _inputs_at_start(self, folder: RunFolder) -> Mapping[str, InputDigest]:
        """The inputs that a resumed run began with; empty for a new one."""
        environment = folder.environment() if self.config.output.resume else None
        return {} if environment is None else environment.inputs

    def _start(self, folder: RunFolder, data: PreparedData, inputs: Mapping[str, InputDigest]) -> None:
        """Start writing into the folder, now that only training can fail."""

        def begin() -> None:
            folder.begin(self.config, inputs)
            if data.check is not None:
                folder.write_data_check(data.check.record())

        on_main(begin)

    def _prepare_data(self, tokenizer: PreTrainedTokenizerBase, model_config: PretrainedConfig) -> PreparedData:
        context, wanted = context_length(model_config), self.config.data.max_length
        if context is not None and wanted is not None and wanted > context:
            raise ConfigError(
                [f"max_length = {wanted:,}: the model has positions for {context:,} tokens. Set it to that or less."]
            )
        data = prepare_data(
            self.config,
            tokenizer,
            wanted or context,
            context=context,
            checks=self.config.data.check_data and PartialState().is_main_process,
            show_progress=self.console.is_terminal and not self.console.quiet,
            checking=partial(self.progress.phase, "checking the data"),
        )
        for line in (data.chat, *data.lines()):
            self._say(line)
        return data

    def _load_models(
        self, arguments: TrainingArguments, data: PreparedData, tokenizer: PreTrainedTokenizerBase
    ) -> _Models:
        set_seed(self.config.steps.seed)  # a new adapter starts at random
        with self.progress.phase("loading the model"):
            policy = load_policy(self.config)
        if self.config.method.needs("rewards"):
            make_usable(policy.model, tokenizer, self.config.model.chat_choice)
        for line in make_savable(policy.model, tokenizer):
            self._say(line)
        check_fits(policy, data, self.config)
        inputs = model_digests(self.config, policy)
        if isinstance(policy.reference, FrozenCopy):
            nn.Module.to(policy.reference.model, arguments.device)
        with self.progress.phase("testing packed rows"):
            choice = choose_forward_for(
                policy.model,
                policy.reference,
                Arithmetic.of_arguments(arguments),
                is_sharded=bool(arguments.fsdp or arguments.deepspeed),
            )
        self.console.print(choice.reason, highlight=False)
        wanted = self.config.steps.max_tokens_per_microbatch
        budget = microbatch_budget(data.all_groups, choice.forward.layout, None if wanted == "auto" else wanted)
        if self._caches_reference():
            policy = cache_reference(
                policy,
                choice.forward,
                [*data.all_groups, *data.mismatched_groups],
                arguments,
                max_tokens=budget,
                console=self.console,
                per_token=self.config.method.needs("reference_token_logps") or data.is_weighted,
            )
        models = _Models(policy, choice.forward, budget, inputs=inputs)
        return self._measured(models, arguments, data) if wanted == "auto" else models

    def _measured(self, models: _Models, arguments: TrainingArguments, data: PreparedData) -> _Models:
        """The same models with the measured budget, after the reference has left memory."""
        model = models.policy.model
        objective = Objective(self.config.method, models.policy.reference, models.forward)
        with self.progress.phase("measuring memory"):
            found = measure_budget(model, objective, data.all_groups, arguments, work=work_of(model))
        self.console.print(f"max_tokens_per_microbatch: {found}", highlight=False)
        return replace(models, max_tokens=found.max_tokens, work_per_second=found.work_per_second)

    def _caches_reference(self) -> bool:
        """True if a table can replace the reference; if a requested one cannot, the console says why."""
        model, method = self.config.model, self.config.method
        why = model.why_reference_is_not_cached(method)
        if why and model.reference_cache and method.needs_reference:
            self.console.print(f"reference: stays in memory, {why}", highlight=False)
        return why is None

    def _trainer(
        self,
        arguments: TrainingArguments,
        models: _Models,
        data: PreparedData,
        tokenizer: PreTrainedTokenizerBase,
        folder: RunFolder,
    ) -> tuple[PreferenceTrainer, StopOnSignal]:
        stop = StopOnSignal(
            lambda text: self.console.print(text, style=WARNING), evaluates=self.config.choice.keep == "best"
        )
        samples = self._samples(arguments, models, data, tokenizer, folder)
        batching = Batching.of(
            models.policy.model,
            arguments,
            models.forward.layout,
            batch_size=self.config.steps.batch_size,
            max_tokens=models.max_tokens,
            shuffle=self.config.steps.shuffle,
        )
        trainer = PreferenceTrainer(
            models.policy.model,
            arguments,
            objective=Objective(self.config.method, models.policy.reference, models.forward),
            train_steps=StepDataset(data.train, self.config.method, batching, data.mixture),
            eval_steps=StepDataset(data.held_out, self.config.method, batching) if data.held_out else None,
            starts_at_reference=models.policy.starts_at_reference,
            warms_up_from_zero=False,
            processing_class=tokenizer,
            out_of_memory=self._out_of_memory(),
            reference_sync=ReferenceSync.of(self.config.model, models.policy.reference),
            measures=[*self.measures, *samples],
            callbacks=[
                *(MetricsFile(folder), WritesManifests(), stop, self.progress),
                *samples,
                *choice_callbacks(self.config),
            ],
        )
        trainer.remove_callback(PrinterCallback)
        self._show_plan(trainer, models.work_per_second)
        return trainer, stop

    def _samples(
        self,
        arguments: TrainingArguments,
        models: _Models,
        data: PreparedData,
        tokenizer: PreTrainedTokenizerBase,
        folder: RunFolder,
    ) -> list[RunSamples]:
        """The callback that draws samples; none if none are requested, or no prompt leaves room for one."""
        settings = self.config.samples.on(arguments.device.type)
        for line in samples_lines(settings, len(data.prompts), are_measured=bool(self.sample_measures)):
            self._say(line)
        if not data.prompts:
            return []
        sampler = Sampler(
            tokenizer,
            data.prompts,
            models.forward,
            SampleReference.of(self.config, models.policy, arguments.device),
            Arithmetic.of_arguments(arguments),
            chat=self.config.model.chat_choice,
            max_new_tokens=settings.sample_tokens,
            max_tokens=models.max_tokens,
            seed=self.config.steps.seed,
            needs_kl=self.config.choice.needs_kl,
            say=self._say,
        )
        phase = partial(self.progress.phase, f"drawing {len(data.prompts)} samples (--eval-samples 0 to skip)")
        return [RunSamples(sampler, folder.samples, measures=self.sample_measures, say=self._say, drawing=phase)]

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _out_of_memory(self) -> OutOfMemory:
        """Only an automatic budget may be halved, and only if no other process relies on the plan."""
        return OutOfMemory(
            may_halve=self.config.steps.max_tokens_per_microbatch == "auto" and PartialState().num_processes == 1,
            say=lambda line: self.console.print(line, style=WARNING),
        )

    def _show_plan(self, trainer: PreferenceTrainer, work_per_second: float | None) -> None:
        """Print the plan now, and the expected time after the first steps."""
        plan = trainer.plan
        self._say(f"plan: {plan if work_per_second is None else plan.at_speed(work_per_second)}")
        trainer.add_callback(Pace(trainer.train_steps, plan.work_per_step, self._say))

    def _checkpoint(self, folder: RunFolder) -> str | None:
        """The newest whole checkpoint of a run that resumes. Found by the main process, the same for all ranks."""
        if not self.config.output.resume:
            return None
        last = on_main(lambda: folder.whole_checkpoint(self._say))
        self._say(f"resuming {f'from {last.name}' if last else 'from the start: it has no whole checkpoint'}")
        return str(last) if last else None

    def _save(self, trainer: PreferenceTrainer, policy: Policy, folder: RunFolder) -> None:
        if isinstance(policy.reference, KeptAdapter):
            assert isinstance(policy.model, PeftModel)
            policy.model.delete_adapter(policy.reference.kept)
        with self.progress.phase("saving the model"):
            save_model(trainer, folder)
