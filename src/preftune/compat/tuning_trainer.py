"""`TuningTrainer`: the trainer with the arguments of TRL, for every method."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any, ClassVar

import torch
from peft import PeftConfig
from torch import nn
from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainingArguments, set_seed
from typing_extensions import override

from preftune.compat.given import Model, Rows, given_policy, given_tokenizer, load_model, model_name, read_rows
from preftune.compat.tuning_config import TuningConfig, given_config, step_by_step
from preftune.data.tokens.token_group import TokenGroup
from preftune.data.tokens.tokenize import check_vocabulary
from preftune.errors import ConfigError
from preftune.files.terminal import PlainConsole
from preftune.losses import Unit
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.forward import Forward
from preftune.model.forward.model_size import context_length, num_embeddings, work_of
from preftune.model.load.choose_forward import choose_forward_for
from preftune.model.load.load_model import Policy
from preftune.model.load.savable import make_savable
from preftune.model.reference.cached import Cached
from preftune.model.reference.reference import FrozenCopy
from preftune.planning import Layout, MicroBatchShape, sizes_of
from preftune.runs.prepare_data import PartReport, microbatch_budget
from preftune.runs.reference import cache_reference
from preftune.training.objective import Objective
from preftune.training.steps import Batching, StepDataset
from preftune.training.trainer import PreferenceTrainer

__all__ = ["ReferenceFreeTrainer", "TuningTrainer"]

_logger = logging.getLogger(__name__)


class TuningTrainer(PreferenceTrainer):
    """Base of all trainers with TRL's arguments. A subclass names its config class, which defines the method.

    A `transformers.Trainer`: it has `train`, `evaluate`, `save_model`, `push_to_hub` and so on.

    Args:
        model: The policy: a model, a model with a peft adapter, or the hub id or folder of either.
        ref_model: The reference. Default: the initial policy, or the model without its new adapter.
        args: An instance of `config_class`; or plain `TrainingArguments`, with the fields of that config given as
            `settings`. Not modified.
        data_collator, compute_metrics: Not supported: batches are planned, and the method defines the metrics.
        train_dataset: Rows: a `datasets.Dataset` or a list of dicts.
        eval_dataset: Held-out rows, or a dict of several sets.
        processing_class: The tokenizer. Default: the one in the model's repository or folder.
        callbacks, optimizers: As for `transformers.Trainer`.
        quantization_config: Quantization of a model given by id or folder.
        peft_config: Trains a new adapter of this kind instead of all weights.
        tokenizer: Older name of `processing_class`.
        settings: Fields of the config by name, such as `beta=0.1`, if `args` is not an instance of `config_class`.
    Raises:
        ConfigError: invalid arguments, all at once.
        DataError, ModelError, TokenizerError: unusable data, model or tokenizer.
    Differs: `rewards/accuracies` counts a margin of 0 as half; TRL's means of logits, entropy and token accuracy are
        not logged. The default reference is a copy of the model that is passed in, where TRL loads it again from its
        id or path. A conversation's answer ends with the end-of-sequence token, once.

    `data_reports` reports for each data set what was cut or dropped.
    """

    config_class: ClassVar[type[TuningConfig]]
    """Class of the settings."""

    def __init__(
        self,
        model: str | Model,
        ref_model: Model | None = None,
        args: TrainingArguments | None = None,
        data_collator: None = None,
        train_dataset: Rows | None = None,
        *,
        eval_dataset: Rows | Mapping[str, Rows] | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        compute_metrics: None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[torch.optim.Optimizer | None, torch.optim.lr_scheduler.LambdaLR | None] = (None, None),
        quantization_config: Any = None,
        peft_config: PeftConfig | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        **settings: Any,
    ) -> None:
        problems = []
        if None not in (tokenizer, processing_class):
            problems.append("tokenizer and processing_class: are two names of one argument. Give one of them.")
        if train_dataset is None:
            problems.append("train_dataset: is not given, so there is nothing to train on. Give rows.")
        settings |= {"data_collator": data_collator, "compute_metrics": compute_metrics}
        short_name = Path(model_name(model)).name or type(model).__name__
        config = given_config(self.config_class, args, settings, short_name, problems)
        _check_devices(config)
        assert train_dataset is not None, "checked above"
        self._config = config
        self._tokenizer = given_tokenizer(tokenizer if processing_class is None else processing_class, model, config)
        self.data_reports: dict[str, PartReport] = {}
        train = self._read(train_dataset, "train_dataset")
        held_out = self._read_held_out(eval_dataset)
        set_seed(config.seed)  # a new adapter starts at random
        policy = given_policy(_instance(model, config, quantization_config), ref_model, peft_config, config)
        for line in make_savable(policy.model, self._tokenizer):
            _logger.warning(line)
        self._models = _models(policy)
        for groups in (train, *held_out.values()):
            _check_fits(groups, self._models)
        forward = _choose_forward(policy, config)
        self._layout = forward.layout
        if config.reference_plan.num_at_once is not None:
            policy = self._precompute(policy, forward, [train, *held_out.values()])
        batching = replace(
            self._batching(train, config.per_device_train_batch_size, config.gradient_accumulation_steps),
            work=work_of(policy.model),
            seed=config.seed,
            shuffle=config.shuffles,
        )
        super().__init__(
            policy.model,
            step_by_step(config),
            objective=Objective(config.method, policy.reference, forward),
            train_steps=StepDataset(train, config.method, batching),
            eval_steps=self._held_out_steps(held_out, by_name=isinstance(eval_dataset, Mapping)),
            reference_sync=config.reference_plan.sync(policy.reference),
            starts_at_reference=policy.starts_at_reference and not _is_noisy(config),
            processing_class=self._tokenizer,
            callbacks=callbacks,
            optimizers=optimizers,
        )

    def _precompute(self, policy: Policy, forward: Forward, parts: Sequence[list[TokenGroup]]) -> Policy:
        """The policy with the reference model replaced by its log-probs for all rows."""
        config = self._config
        groups = _with_mismatched_groups([group for part in parts for group in part])
        at_once = config.reference_plan.num_at_once
        assert at_once is not None, "called only if log-probs are precomputed"
        self._models = (policy.model,)
        return cache_reference(
            policy,
            forward,
            groups,
            config,
            max_tokens=_max_tokens(groups, forward.layout, config.method.counted, at_once),
            console=PlainConsole(stderr=True, quiet=bool(config.disable_tqdm)),
            per_token=config.method.needs("reference_token_logps") or any(group.weights for group in groups),
        )

    # --- held-out data ----------------------------------------------------------------------------------------

    @override
    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Loss and metrics on held-out rows: those of the constructor, one of its sets by name, or new rows."""
        if eval_dataset is not None and not isinstance(eval_dataset, str | StepDataset):
            if isinstance(self.objective.reference, Cached):
                raise ConfigError(
                    [
                        "eval_dataset: the reference left memory when its log-probs were computed, and other rows have "
                        "none. Give them to the constructor, or set precompute_ref_log_probs=False."
                    ]
                )
            held_out = self._read_held_out(eval_dataset)
            for groups in held_out.values():
                _check_fits(groups, self._models)
            eval_dataset = self._held_out_steps(held_out, by_name=isinstance(eval_dataset, Mapping))
        return dict(super().evaluate(eval_dataset, ignore_keys, metric_key_prefix))

    def _read_held_out(self, rows: Rows | Mapping[str, Rows] | None) -> dict[str, list[TokenGroup]]:
        if rows is None:
            return {}
        if not isinstance(rows, Mapping):
            return {"": self._read(rows, "eval_dataset")}
        return {name: self._read(part, f"eval_dataset[{name!r}]") for name, part in rows.items()}

    def _held_out_steps(
        self, held_out: Mapping[str, list[TokenGroup]], *, by_name: bool
    ) -> StepDataset | dict[str, StepDataset] | None:
        method = self._config.method
        size = self._config.per_device_eval_batch_size
        steps = {name: StepDataset(groups, method, self._batching(groups, size)) for name, groups in held_out.items()}
        return steps or None if by_name else steps.get("")

    # --- rows and steps ---------------------------------------------------------------------------------------

    def _read(self, rows: Rows, name: str) -> list[TokenGroup]:
        groups, self.data_reports[name] = read_rows(rows, name, self._tokenizer, self._config)
        return groups

    def _batching(self, groups: Sequence[TokenGroup], rows_at_once: int, num_times: int = 1) -> Batching:
        """Steps of `rows_at_once * num_times` rows per process, in micro-batches no bigger than `rows_at_once` rows."""
        return Batching(
            batch_size=rows_at_once * num_times * self._config.world_size,
            max_tokens=self._budget(groups, rows_at_once),
            layout=self._layout,
            shuffle=False,
            num_ranks=self._config.world_size,
            rank=self._config.process_index,
        )

    def _budget(self, groups: Sequence[TokenGroup], rows_at_once: int) -> int:
        """Token budget of a micro-batch: the configured one, else what `rows_at_once` rows need."""
        wanted = self._config.max_tokens_per_microbatch
        if wanted is not None:
            return microbatch_budget(groups, self._layout, wanted)
        return _max_tokens(groups, self._layout, self._config.method.counted, rows_at_once)


def _instance(model: str | Model, config: TuningConfig, quantization_config: Any) -> Model:
    """The model, loaded if it is given by id or path. A ConfigError if a loaded model comes with loading options."""
    if isinstance(model, str):
        further = {} if quantization_config is None else {"quantization_config": quantization_config}
        return load_model(model, config, **further)
    for_loading = {"model_init_kwargs": config.model_init_kwargs, "quantization_config": quantization_config}
    unused = [name for name, value in for_loading.items() if value is not None]
    if unused:
        raise ConfigError(
            [f"{name}: the model is loaded already. Use it when loading, or give an id." for name in unused]
        )
    return model


def _choose_forward(policy: Policy, config: TuningConfig) -> Forward:
    """The forward that both models pass the self-check with; moves the reference to the device."""
    if isinstance(policy.reference, FrozenCopy):
        nn.Module.to(policy.reference.model, config.device)
    arithmetic = Arithmetic.of_arguments(config)
    choice = choose_forward_for(policy.model, policy.reference, arithmetic, is_sharded=bool(config.fsdp))
    _logger.info(choice.reason)
    return choice.forward


def _check_devices(config: TuningConfig) -> None:
    if config.n_gpu > 1:
        raise ConfigError(
            [
                f"one process sees {config.n_gpu} GPUs: it would split every batch among them. Start the script with "
                "`accelerate launch` or `torchrun`, or restrict it to one GPU with CUDA_VISIBLE_DEVICES=0."
            ]
        )


def _check_fits(groups: Sequence[TokenGroup], models: Sequence[Model]) -> None:
    """Check that policy and reference have all tokens in their vocabulary and enough positions.

    Raises:
        TokenizerError: a token that a model lacks.
        ConfigError: a row longer than a model's context.
    """
    whole = _with_mismatched_groups(groups)
    for model in models:
        check_vocabulary(groups, num_embeddings(model))
        context = context_length(model.config)
        longest = max(whole, key=lambda group: len(group.prompt) + max(group.completion_lengths))
        length = len(longest.prompt) + max(longest.completion_lengths)
        if context is not None and length > context:
            raise ConfigError(
                [
                    f"max_length: {longest.origin} has {length:,} tokens, and {type(model).__name__} has positions for "
                    f"{context:,}. Set max_length={context} or less."
                ]
            )


def _with_mismatched_groups(groups: Sequence[TokenGroup]) -> list[TokenGroup]:
    """The groups, followed by their prompts with mismatched completions where a method uses them."""
    mismatched = (group.mismatched_group for group in groups)
    return [*groups, *(group for group in mismatched if group is not None)]


def _models(policy: Policy) -> tuple[Model, ...]:
    return (policy.model, policy.reference.model) if isinstance(policy.reference, FrozenCopy) else (policy.model,)


def _is_noisy(config: TuningConfig) -> bool:
    """True if two training forwards of the same batch differ."""
    return not config.disable_dropout or config.neftune_noise_alpha is not None


def _max_tokens(groups: Sequence[TokenGroup], layout: Layout, unit: Unit, num_at_once: int) -> int:
    """Most tokens that `num_at_once` units can take in this layout; at least the largest group."""
    sizes = sizes_of(groups)
    needs = [MicroBatchShape().with_group(size).num_tokens(layout) for size in sizes]
    biggest_group = max(needs)
    biggest_unit = max(need / (size.count(unit) or 1) for need, size in zip(needs, sizes, strict=True))
    return max(biggest_group, ceil(num_at_once * biggest_unit))


class ReferenceFreeTrainer(TuningTrainer):
    """`TuningTrainer` for methods without a reference: arguments in the order of TRL's trainers of such methods."""

    def __init__(
        self,
        model: str | Model,
        args: TrainingArguments | None = None,
        data_collator: None = None,
        train_dataset: Rows | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(model, args=args, data_collator=data_collator, train_dataset=train_dataset, **arguments)
