"""A whole run: data, model, training, saving, result."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from accelerate import PartialState
from peft import PeftModel
from rich.console import Console
from torch import nn
from transformers import PretrainedConfig, PreTrainedTokenizerBase, PrinterCallback, TrainingArguments, set_seed

from preftune.data import check_vocabulary
from preftune.errors import ConfigError, ModelError, TokenizerError
from preftune.policy.forward import Forward
from preftune.reference import FrozenCopy, KeptAdapter
from preftune.training.arguments import training_arguments
from preftune.training.cache_reference import cache_reference
from preftune.training.callbacks import MetricsFile, ProgressDisplay, StopOnNoNumber, StopOnSignal
from preftune.training.choose_forward import choose_forward_for
from preftune.training.config import TrainConfig
from preftune.training.load_model import (
    Policy,
    context_length,
    load_config,
    load_policy,
    load_tokenizer,
    num_embeddings,
)
from preftune.training.objective import Objective
from preftune.training.prepare_data import PreparedData, microbatch_budget, prepare_data
from preftune.training.result import RunResult, peak_memory_bytes
from preftune.training.run_folder import RunFolder
from preftune.training.saving import guarded_saves, save_model
from preftune.training.trainer import PreferenceTrainer

__all__ = ["train"]


def train(config: TrainConfig, *, console: Console | None = None) -> RunResult:
    """Tune a model as `config` says, and write model, metrics and settings into its output folder.

    Args:
        config: The settings of the run.
        console: Where progress goes; default: nowhere.
    Returns:
        The numbers of the run, also in `summary.json`.
    Raises:
        PreftuneError: anything that a user can put right: settings, data, model, output folder, disk.
    """
    return _Run(config, console or Console(quiet=True)).train()


@dataclass(frozen=True, slots=True, eq=False)
class _Models:
    """Policy and reference, how log-probs are computed with them, and the token budget of a micro-batch."""

    policy: Policy
    forward: Forward
    max_tokens: int


@dataclass(frozen=True, slots=True)
class _Run:
    """The parts of a run in the order in which they can fail: cheap checks first."""

    config: TrainConfig
    console: Console

    def train(self) -> RunResult:
        started = time.perf_counter()
        arguments = training_arguments(self.config)
        folder = RunFolder(Path(self.config.output.output))
        if PartialState().is_main_process:
            folder.check(self.config)
        tokenizer = load_tokenizer(self.config.model)
        data = self._prepare_data(tokenizer, load_config(self.config.model))
        models = self._load_models(arguments, data)
        trainer, stop = self._trainer(arguments, models, data, tokenizer, folder)
        self._start(folder)
        with guarded_saves(folder):
            trainer.train(resume_from_checkpoint=self._checkpoint(folder))
            if stop.caught is None:
                self._save(trainer, models.policy, folder)
        result = RunResult(
            folder=str(folder.path),
            num_steps=trainer.state.global_step,
            train=RunResult.paths(trainer.state.log_history),
            held_out=RunResult.paths(trainer.state.log_history, "eval_"),
            seconds=time.perf_counter() - started,
            peak_memory_bytes=peak_memory_bytes(),
            num_tokens=trainer.num_tokens,
            data={name: asdict(report) for name, report in data.reports.items()},
            stopped_early=stop.caught is not None,
        )
        if trainer.is_world_process_zero():
            folder.write_summary(result.as_dict())
        return result

    def _start(self, folder: RunFolder) -> None:
        """Take the folder, now that nothing but training can fail any more."""
        if PartialState().is_main_process:
            folder.begin(self.config)
        PartialState().wait_for_everyone()

    def _prepare_data(self, tokenizer: PreTrainedTokenizerBase, model_config: PretrainedConfig) -> PreparedData:
        context, wanted = context_length(model_config), self.config.data.max_length
        if context is not None and wanted is not None and wanted > context:
            raise ConfigError(
                [f"max_length = {wanted:,}: the model has positions for {context:,} tokens. Set it to that or less."]
            )
        data = prepare_data(
            self.config, tokenizer, wanted or context, show_progress=self.console.is_terminal and not self.console.quiet
        )
        for line in data.lines():
            self.console.print(line, highlight=False)
        return data

    def _load_models(self, arguments: TrainingArguments, data: PreparedData) -> _Models:
        set_seed(self.config.steps.seed)  # a new adapter starts at random
        policy = load_policy(self.config)
        self._check_fits(policy, data)
        if isinstance(policy.reference, FrozenCopy):
            nn.Module.to(policy.reference.model, arguments.device)
        choice = choose_forward_for(policy.model, policy.reference, arguments)
        self.console.print(choice.reason, highlight=False)
        budget = microbatch_budget(data.all_groups, choice.forward.layout, self.config.steps.max_tokens_per_microbatch)
        if self.config.model.reference_cache:
            policy = cache_reference(
                policy, choice.forward, data.all_groups, arguments, max_tokens=budget, console=self.console
            )
        return _Models(policy, choice.forward, budget)

    def _check_fits(self, policy: Policy, data: PreparedData) -> None:
        check_vocabulary(data.all_groups, num_embeddings(policy.model))
        if isinstance(policy.reference, FrozenCopy):
            try:
                check_vocabulary(data.all_groups, num_embeddings(policy.reference.model))
            except TokenizerError as error:
                raise ModelError(
                    f"reference_model = {self.config.model.reference_model}: does not share the policy's tokenizer. "
                    f"{error}"
                ) from None

    def _trainer(
        self,
        arguments: TrainingArguments,
        models: _Models,
        data: PreparedData,
        tokenizer: PreTrainedTokenizerBase,
        folder: RunFolder,
    ) -> tuple[PreferenceTrainer, StopOnSignal]:
        stop = StopOnSignal(lambda text: self.console.print(text, style="bold yellow"))
        trainer = PreferenceTrainer(
            models.policy.model,
            arguments,
            objective=Objective(self.config.method, models.policy.reference, models.forward),
            train_groups=data.train,
            eval_groups=data.held_out or None,
            batch_size=self.config.steps.batch_size,
            max_tokens_per_microbatch=models.max_tokens,
            shuffle=self.config.steps.shuffle,
            starts_at_reference=models.policy.starts_at_reference,
            processing_class=tokenizer,
            callbacks=[ProgressDisplay(self.console), MetricsFile(folder), StopOnNoNumber(), stop],
        )
        trainer.remove_callback(PrinterCallback)
        self.console.print(f"plan: {trainer.plan}", highlight=False)
        return trainer, stop

    def _checkpoint(self, folder: RunFolder) -> str | None:
        if not self.config.output.resume:
            return None
        folder.remove_torn_checkpoints()
        last = folder.last_checkpoint()
        where = f"from {last.name}" if last else "from the start: it has no whole checkpoint"
        self.console.print(f"resuming {where}", highlight=False)
        return str(last) if last else None

    def _save(self, trainer: PreferenceTrainer, policy: Policy, folder: RunFolder) -> None:
        if isinstance(policy.reference, KeptAdapter):
            assert isinstance(policy.model, PeftModel)
            policy.model.delete_adapter(policy.reference.kept)
        save_model(trainer, folder)
