"""`TuningTrainer`: the trainer with the arguments of TRL, for every method."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import torch
from datasets import IterableDataset
from peft import PeftConfig
from torch import nn
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainingArguments, set_seed
from typing_extensions import override

from preftune.compat.given import Model, given_policy, given_tokenizer, load_model, model_name, set_padding
from preftune.compat.model_card import card_of
from preftune.compat.overrides import check_overrides
from preftune.compat.precomputed import LaterRows, precomputed
from preftune.compat.rows import Rows, read_rows, rows_for_steps
from preftune.compat.sizes import check_fits, most_tokens
from preftune.compat.tuning_config import TuningConfig, given_config
from preftune.data.tokens.token_group import TokenGroup
from preftune.errors import ConfigError
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.forward import Forward
from preftune.model.forward.model_size import work_of
from preftune.model.load.choose_forward import choose_forward_for
from preftune.model.load.load_model import Policy
from preftune.model.load.savable import make_savable
from preftune.model.reference.cached import Cached
from preftune.model.reference.reference import FrozenCopy
from preftune.runs.data_report import PartReport
from preftune.runs.model_card import ModelCard
from preftune.runs.prepare_data import microbatch_budget
from preftune.training.objective import Objective
from preftune.training.steps import Batching, InParts, Step, StepDataset
from preftune.training.trainer import PreferenceTrainer

_logger = logging.getLogger(__name__)


class TuningTrainer(PreferenceTrainer):
    """Base of all trainers with TRL's arguments. A subclass names its config class, which defines the method.

    A `transformers.Trainer`: it has `train`, `evaluate`, `save_model`, `push_to_hub` and so on.

    Args:
        model: The policy: a model, a model with a peft adapter, or the hub id or folder of either.
        ref_model: The reference, or its hub id or folder. Default: the initial policy, or the model without its new
            adapter.
        args: An instance of `config_class`, which the trainer keeps as its own; or plain `TrainingArguments`, with the
            fields of that config given as `settings`.
        data_collator, compute_metrics: Not supported: batches are planned, and the method defines the metrics.
        train_dataset: Rows: a `datasets.Dataset` or a list of dicts; or an `IterableDataset`, of which as many rows are
            read as `max_steps` steps take, in their order.
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

    keeps_arguments = True  # tools of TRL's users read them in checkpoints
    config_class: ClassVar[type[TuningConfig]]
    """Class of the settings."""

    _tag_names: ClassVar[list[str]] = ["preftune"]
    """Tags of the model and its card."""

    @override
    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        check_overrides(cls, TuningTrainer)

    def __init__(
        self,
        model: str | Model,
        ref_model: str | Model | None = None,
        args: TrainingArguments | None = None,
        data_collator: None = None,
        train_dataset: Rows | None = None,
        eval_dataset: Rows | Mapping[str, Rows] | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        compute_metrics: None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[torch.optim.Optimizer | None, torch.optim.lr_scheduler.LambdaLR | None] = (None, None),
        quantization_config: Any = None,
        peft_config: PeftConfig | None = None,
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        **settings: Any,
    ) -> None:
        settings |= {"data_collator": data_collator, "compute_metrics": compute_metrics}
        config = given_config(
            self.config_class,
            args,
            settings,
            Path(model_name(model)).name or type(model).__name__,
            list(_problems(train_dataset, tokenizer, processing_class)),
        )
        _check_devices(config)
        self._config, self._base_name = config, model_name(model)
        self._tokenizer = given_tokenizer(tokenizer if processing_class is None else processing_class, model, config)
        self.data_reports: dict[str, PartReport] = {}
        assert train_dataset is not None, "checked above"
        train = self._read(rows_for_steps(train_dataset, config), "train_dataset")
        held_out = self._read_held_out(eval_dataset)
        set_seed(config.seed)  # a new adapter starts at random
        policy = given_policy(_instance(model, config, quantization_config), ref_model, peft_config, config)
        self._check_models(policy, [train, *held_out.values()])
        forward = _choose_forward(policy, config)
        self._layout = forward.layout
        if config.reference_plan.num_at_once is not None:
            self._later_rows = LaterRows.of(policy)
            policy = precomputed(policy, forward, list(chain(train, *held_out.values())), config)
            self._models = _models(policy)
        self._eval_steps = {name: self._held_out_steps(groups) for name, groups in held_out.items()}
        super().__init__(
            policy.model,
            config,
            objective=Objective(config.method, policy.reference, forward),
            train_steps=self._train_steps(train, policy.model, train_dataset),
            eval_steps=self._eval_steps or None,
            reference_sync=config.reference_plan.sync(policy.reference),
            starts_at_reference=policy.starts_at_reference and not _is_noisy(config),
            processing_class=self._tokenizer,
            callbacks=callbacks,
            optimizers=optimizers,
        )
        self.train_dataset, self._given_held_out = train_dataset, eval_dataset
        self.eval_dataset = eval_dataset
        self._set_attributes()

    def _set_attributes(self) -> None:
        """Set the attributes that TRL's trainers have, and the model's tags; log the fields that change nothing."""
        for name, value in self._config.attributes().items():
            setattr(self, name, value)
        for line in self._config.remarks():
            _logger.warning(line)
        model: Any = self.model
        model.add_model_tags(self._tag_names)

    @property
    def ref_model(self) -> Model | None:
        """The reference model; None if there is none, or if it is the policy without its adapter."""
        reference = self.objective.reference
        return reference.model if isinstance(reference, FrozenCopy) else None

    def _check_models(self, policy: Policy, parts: Sequence[Sequence[TokenGroup]]) -> None:
        """Check that the models fit the tokens and can be saved, and give them the padding token."""
        set_padding(self._tokenizer, policy.model)
        for line in make_savable(policy.model, self._tokenizer):
            _logger.warning(line)
        self._models = _models(policy)
        for groups in parts:
            check_fits(groups, self._models)

    # --- rows and steps ---------------------------------------------------------------------------------------

    def _read(self, rows: Rows, name: str) -> list[TokenGroup]:
        groups, self.data_reports[name] = read_rows(rows, name, self._tokenizer, self._config)
        return groups

    def _read_held_out(self, rows: Rows | Mapping[str, Rows] | None) -> dict[str, list[TokenGroup]]:
        """The groups of each held-out set; a single one has no name."""
        if rows is None:
            return {}
        if not isinstance(rows, Mapping):
            return {"": self._read(rows, "eval_dataset")}
        return {name: self._read(part, f"eval_dataset[{name!r}]") for name, part in rows.items()}

    def _train_steps(self, groups: Sequence[TokenGroup], model: Model, rows: Rows) -> StepDataset:
        """The steps of training. A stream keeps its order."""
        config = self._config
        shuffle = config.shuffles and not isinstance(rows, IterableDataset)
        batching = self._batching(groups, config.per_device_train_batch_size, config.gradient_accumulation_steps)
        batching = replace(batching, work=work_of(model), seed=config.seed, shuffle=shuffle)
        return StepDataset(groups, config.method, batching)

    def _held_out_steps(self, groups: Sequence[TokenGroup]) -> StepDataset:
        batching = self._batching(groups, self._config.per_device_eval_batch_size)
        return StepDataset(groups, self._config.method, batching)

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
        return most_tokens(groups, self._layout, self._config.method.counted, rows_at_once)

    @override
    def num_examples(self, dataloader: DataLoader[Any]) -> int:
        """Rows of an epoch, as `per_device_train_batch_size` counts them."""
        steps: Any = dataloader.dataset
        steps = steps.steps if isinstance(steps, InParts) else steps
        assert isinstance(steps, StepDataset), type(steps).__name__
        return steps.num_units

    # --- held-out data ----------------------------------------------------------------------------------------

    @override
    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Loss and metrics on held-out rows: those of the constructor, one of its sets by name, or new rows."""
        if isinstance(eval_dataset, Mapping):
            eval_dataset = dict(eval_dataset)
        return dict(super().evaluate(eval_dataset, ignore_keys, metric_key_prefix))

    @override
    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Step]:
        """The steps of held-out rows, in their order.

        Raises:
            ConfigError: there are no such rows.
        """
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(rows, str):
            known = self.eval_dataset if isinstance(self.eval_dataset, Mapping) else {}
            if rows not in known:
                raise ConfigError(
                    [f"eval_dataset = {rows!r}: no such held-out set. Sets: {', '.join(known) or 'none'}."]
                )
            rows = known[rows]
        if rows is None:
            raise ConfigError(["eval_dataset: is not given, and evaluation needs held-out rows. Give some."])
        return self._dataloader(self._steps_of(rows))

    @override
    def get_test_dataloader(self, test_dataset: Any) -> DataLoader[Step]:
        """The steps of the rows that `predict` is given."""
        return self.get_eval_dataloader(test_dataset)

    def _steps_of(self, rows: Any) -> StepDataset:
        """The steps of held-out rows; those of the constructor are read already."""
        if isinstance(rows, StepDataset):
            return rows
        given = self._given_held_out
        for name, part in (given if isinstance(given, Mapping) else {"": given}).items():
            if part is rows:
                return self._eval_steps[name]
        groups = self._read(rows, "eval_dataset")
        check_fits(groups, self._models)
        if isinstance(self.objective.reference, Cached):
            forward, has_trained = self.objective.forward, self.state.global_step > 0
            table = self._later_rows.joined(
                self.objective.reference, forward, groups, self._config, has_trained=has_trained
            )
            self.objective = replace(self.objective, reference=table)
        return self._held_out_steps(groups)

    # --- the hub ----------------------------------------------------------------------------------------------

    @override
    def create_model_card(  # type: ignore[override]  # TRL's names, not those of transformers
        self,
        model_name: str | None = None,
        dataset_name: str | None = None,
        tags: str | Sequence[str] | None = None,
    ) -> None:
        """Write the model card, README.md in `args.output_dir`, on the main process.

        Args:
            model_name: Title of the card. Default: the name of the output folder.
            dataset_name: Name of the data on the hub.
            tags: Further tags.
        """
        if not self.is_world_process_zero():
            return
        further = [tags] if isinstance(tags, str) else list(tags or ())
        folder = Path(str(self.args.output_dir))
        data = [] if dataset_name is None else [dataset_name]
        self._card(model_name or folder.resolve().name, data=data, tags=further).write(folder)

    @override
    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save model and tokenizer, with a model card of this trainer's facts; checkpoints have none."""
        super().save_model(output_dir, _internal_call)
        if not _internal_call and self.args.should_save:
            folder = Path(output_dir or str(self.args.output_dir))
            self._card(folder.resolve().name).write(folder)

    def _card(self, title: str, *, data: Sequence[str] = (), tags: Sequence[str] = ()) -> ModelCard:
        tags = [*self._tag_names, *tags]
        return card_of(
            self, self._config.method, self.data_reports, base=self._base_name, title=title, data=data, tags=tags
        )


def _problems(train_dataset: Rows | None, tokenizer: object, processing_class: object) -> Iterator[str]:
    """Problems of arguments beside the config."""
    if None not in (tokenizer, processing_class):
        yield "tokenizer and processing_class: are two names of one argument. Give one of them."
    if train_dataset is None:
        yield "train_dataset: is not given, so there is nothing to train on. Give rows."


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


def _models(policy: Policy) -> tuple[Model, ...]:
    return (policy.model, policy.reference.model) if isinstance(policy.reference, FrozenCopy) else (policy.model,)


def _is_noisy(config: TuningConfig) -> bool:
    """True if two training forwards of the same batch differ."""
    return not config.disable_dropout or config.neftune_noise_alpha is not None


class ReferenceFreeTrainer(TuningTrainer):
    """`TuningTrainer` for methods without a reference: arguments in the order of TRL's trainers of such methods."""

    order: ClassVar[Sequence[str]] = (
        *("args", "data_collator", "train_dataset", "eval_dataset", "processing_class", "model_init", "callbacks"),
        *("optimizers", "preprocess_logits_for_metrics", "peft_config", "compute_metrics"),
    )
    """Names of the positional arguments after `model`."""

    def __init__(self, model: str | Model, *positional: Any, **arguments: Any) -> None:
        if len(positional) > len(self.order):
            raise TypeError(f"{type(self).__name__} takes at most {len(self.order) + 1} positional arguments.")
        by_place = dict(zip(self.order, positional, strict=False))
        twice = sorted(by_place.keys() & arguments.keys())
        if twice:
            raise TypeError(f"{type(self).__name__} got several values for {', '.join(twice)}.")
        super().__init__(model, **by_place, **arguments)
