"""`TuningTrainer`: the trainer behind the arguments that users of TRL know, whatever the method is."""

import logging
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, ClassVar

import torch
from peft import PeftConfig
from rich.console import Console
from torch import nn
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainingArguments, set_seed
from typing_extensions import override

from preftune.compat.given_arguments import given_config, step_by_step
from preftune.compat.given_model import Model, given_policy, given_tokenizer, load_model
from preftune.compat.given_rows import Rows, read_rows
from preftune.compat.tuning_config import TuningConfig
from preftune.data.tokens.token_group import TokenGroup
from preftune.data.tokens.tokenize import check_vocabulary
from preftune.errors import ConfigError
from preftune.losses import Unit
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.forward import Forward
from preftune.model.forward.model_size import context_length, num_embeddings
from preftune.model.load.choose_forward import choose_forward_for
from preftune.model.load.load_model import Policy
from preftune.model.reference.cached import Cached
from preftune.model.reference.reference import FrozenCopy, Reference
from preftune.planning import Layout, MicroBatchShape, sizes_of
from preftune.runs.cache_reference import cache_reference
from preftune.runs.prepare_data import PartReport, microbatch_budget
from preftune.training.objective import Objective
from preftune.training.steps import Batching, Step, StepDataset
from preftune.training.trainer import PreferenceTrainer

__all__ = ["TuningTrainer"]

_logger = logging.getLogger(__name__)


class TuningTrainer(PreferenceTrainer):
    """Any method with the arguments of TRL's trainers; a trainer of one method names its config.

    A `transformers.Trainer`: `train`, `evaluate`, `save_model`, `push_to_hub` and the rest are there.

    Args:
        model: The policy: a model, one with an adapter of peft, or a hub id or folder of either.
        ref_model: What it is compared with. Default: the policy as it was, or without the new adapter.
        args: A config of the trainer's kind; or plain `TrainingArguments`, with the fields of that config given as
            `settings`. Stays as it is.
        data_collator, compute_metrics: Not supported: batches are planned, and the metrics are those of the method.
        train_dataset: Rows: a `datasets.Dataset` or a list of dicts.
        eval_dataset: Held-out rows, or several sets of them by name.
        processing_class: The tokenizer. Default: that of the model's id or folder.
        callbacks, optimizers: As for `transformers.Trainer`.
        quantization_config: For a model that is given by id or folder.
        peft_config: Trains a new adapter of this kind instead of all weights.
        tokenizer: `processing_class` by the name that older scripts use.
        settings: Fields of the config by name, such as `beta=0.1`, where `args` is no such config.
    Raises:
        ConfigError: arguments that cannot work, all at once.
        DataError, ModelError, TokenizerError: data, model or tokenizer that cannot be used.
    Differs: `rewards/accuracies` counts a margin of 0 as half right; the means of logits, the entropy and the token
        accuracy of TRL are not logged. The default reference is a copy of the model as it is handed over, where TRL
        loads it anew from where it came from. A conversation's answer ends with the end-of-sequence token, once.

    `data_reports` says for each data set what was cut or left out.
    """

    config_class: ClassVar[type[TuningConfig]]
    """What the trainer is told its settings by."""

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
            problems.append("tokenizer and processing_class: are the same. Give one of them.")
        if train_dataset is None:
            problems.append("train_dataset: is not given, so there is nothing to learn from.")
        settings |= {"data_collator": data_collator, "compute_metrics": compute_metrics}
        config = given_config(self.config_class, args, settings, model, problems)
        _check_devices(config)
        assert train_dataset is not None, "checked above"
        self._config = config
        self._tokenizer = given_tokenizer(tokenizer if processing_class is None else processing_class, model, config)
        self.data_reports: dict[str, PartReport] = {}
        train = self._read(train_dataset, "train_dataset")
        held_out = self._read_held_out(eval_dataset)
        set_seed(config.seed)  # a new adapter starts at random
        policy = given_policy(_instance(model, config, quantization_config), ref_model, peft_config, config)
        self._models = _models(policy)
        for groups in (train, *held_out.values()):
            _check_fits(groups, self._models)
        choice = choose_forward_for(
            policy.model,
            _on_device(policy.reference, config),
            Arithmetic.of_arguments(config),
            is_sharded=bool(config.fsdp or config.deepspeed),
        )
        _logger.info(choice.reason)
        self._layout = choice.forward.layout
        if config.reference_plan.num_at_once is not None:
            policy = self._precompute(policy, choice.forward, [train, *held_out.values()])
        batching = self._batching(train, config.per_device_train_batch_size, config.gradient_accumulation_steps)
        super().__init__(
            policy.model,
            step_by_step(config),
            objective=Objective(config.method, policy.reference, choice.forward),
            train_groups=train,
            eval_groups=[group for groups in held_out.values() for group in groups],
            batch_size=batching.batch_size,
            max_tokens_per_microbatch=batching.max_tokens,
            reference_sync=config.reference_plan.sync(policy.reference),
            shuffle=config.shuffles,
            starts_at_reference=policy.starts_at_reference and not _is_noisy(config),
            processing_class=self._tokenizer,
            callbacks=callbacks,
            optimizers=optimizers,
        )
        self.eval_dataset = self._held_out_steps(held_out, by_name=isinstance(eval_dataset, Mapping))

    def _precompute(self, policy: Policy, forward: Forward, parts: Sequence[list[TokenGroup]]) -> Policy:
        """The policy with the reference log-probs of all rows in place of the model that gives them."""
        config = self._config
        groups = _with_mismatched_groups([group for part in parts for group in part])
        at_once = config.reference_plan.num_at_once
        assert at_once is not None, "asked for only where log-probs are computed before"
        self._models = (policy.model,)
        return cache_reference(
            policy,
            forward,
            groups,
            config,
            max_tokens=_max_tokens(groups, forward.layout, config.method.counted, at_once),
            console=Console(stderr=True, quiet=bool(config.disable_tqdm)),
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
        """Loss and metrics on held-out rows: those of the constructor, one set of them by name, or others."""
        if eval_dataset is not None and not isinstance(eval_dataset, str | StepDataset):
            if isinstance(self.objective.reference, Cached):
                raise ConfigError(
                    [
                        "eval_dataset: the reference left memory when its log-probs were computed, and there are none "
                        "for other rows. Give them to the constructor, or set precompute_ref_log_probs=False."
                    ]
                )
            held_out = self._read_held_out(eval_dataset)
            for groups in held_out.values():
                _check_fits(groups, self._models)
            eval_dataset = self._held_out_steps(held_out, by_name=isinstance(eval_dataset, Mapping))
        return dict(super().evaluate(eval_dataset, ignore_keys, metric_key_prefix))

    @override
    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Step]:
        """The steps of held-out rows, in their order."""
        held_out: Any = self.eval_dataset
        steps = held_out if eval_dataset is None else eval_dataset
        return super().get_eval_dataloader(held_out[steps] if isinstance(steps, str) else steps)

    def _read_held_out(self, rows: Rows | Mapping[str, Rows] | None) -> dict[str, list[TokenGroup]]:
        if rows is None:
            return {}
        if not isinstance(rows, Mapping):
            return {"": self._read(rows, "eval_dataset")}
        return {name: self._read(part, f"eval_dataset[{name!r}]") for name, part in rows.items()}

    def _held_out_steps(
        self, held_out: Mapping[str, list[TokenGroup]], *, by_name: bool
    ) -> StepDataset | dict[str, StepDataset] | None:
        method = self.objective.method
        size = self._config.per_device_eval_batch_size
        steps = {name: StepDataset(groups, method, self._batching(groups, size)) for name, groups in held_out.items()}
        return steps if by_name else steps.get("")

    # --- rows and steps ---------------------------------------------------------------------------------------

    def _read(self, rows: Rows, name: str) -> list[TokenGroup]:
        groups, self.data_reports[name] = read_rows(rows, name, self._tokenizer, self._config)
        return groups

    def _batching(self, groups: Sequence[TokenGroup], rows_at_once: int, num_times: int = 1) -> Batching:
        """Steps of `rows_at_once * num_times` rows per process, with no more memory than so many need at once."""
        return Batching(
            batch_size=rows_at_once * num_times * self._config.world_size,
            max_tokens=self._budget(groups, rows_at_once),
            layout=self._layout,
            shuffle=False,
            num_ranks=self._config.world_size,
            rank=self._config.process_index,
        )

    def _budget(self, groups: Sequence[TokenGroup], rows_at_once: int) -> int:
        """Tokens of a micro-batch: as many as are asked for, else as `rows_at_once` rows need."""
        wanted = self._config.max_tokens_per_microbatch
        if wanted is not None:
            return microbatch_budget(groups, self._layout, wanted)
        return _max_tokens(groups, self._layout, self._config.method.counted, rows_at_once)


def _instance(model: str | Model, config: TuningConfig, quantization_config: Any) -> Model:
    """The model, loaded if it is given by id or path.

    Raises:
        ConfigError: what only loading could use is given with a loaded model.
    """
    if isinstance(model, str):
        further = {} if quantization_config is None else {"quantization_config": quantization_config}
        return load_model(model, config, **further)
    for_loading = {"model_init_kwargs": config.model_init_kwargs, "quantization_config": quantization_config}
    unused = [name for name, value in for_loading.items() if value is not None]
    if unused:
        raise ConfigError([f"{name}: the model is loaded already. Load it so, or give its id." for name in unused])
    return model


def _on_device(reference: Reference, config: TuningConfig) -> Reference:
    if isinstance(reference, FrozenCopy):
        nn.Module.to(reference.model, config.device)
    return reference


def _check_devices(config: TuningConfig) -> None:
    if config.n_gpu > 1:
        raise ConfigError(
            [
                f"one process sees {config.n_gpu} GPUs: it would split every batch among them. Start the script with "
                "`accelerate launch` or `torchrun`, or let it see one GPU with CUDA_VISIBLE_DEVICES=0."
            ]
        )


def _check_fits(groups: Sequence[TokenGroup], models: Sequence[Model]) -> None:
    """Make sure that policy and reference know all tokens and reach all positions.

    Raises:
        TokenizerError: a token that is not in a model.
        ConfigError: a row that is longer than the positions of a model.
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
    """The groups, and their prompts with completions of others, for methods that need them."""
    mismatched = (group.mismatched_group for group in groups)
    return [*groups, *(group for group in mismatched if group is not None)]


def _models(policy: Policy) -> tuple[Model, ...]:
    return (policy.model, policy.reference.model) if isinstance(policy.reference, FrozenCopy) else (policy.model,)


def _is_noisy(config: TuningConfig) -> bool:
    """Whether the policy does not repeat itself in training."""
    return not config.disable_dropout or config.neftune_noise_alpha is not None


def _max_tokens(groups: Sequence[TokenGroup], layout: Layout, unit: Unit, num_at_once: int) -> int:
    """Tokens of `num_at_once` of the unit at their biggest, as the model sees them; at least a whole group."""
    sizes = sizes_of(groups)
    needs = [MicroBatchShape().with_group(size).num_tokens(layout) for size in sizes]
    biggest_group = max(needs)
    biggest_unit = max(need / (size.count(unit) or 1) for need, size in zip(needs, sizes, strict=True))
    return max(biggest_group, ceil(num_at_once * biggest_unit))
