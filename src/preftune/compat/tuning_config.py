"""`TuningConfig`: the settings that all configs with TRL's names share."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Self

from transformers import TrainingArguments
from transformers.utils.import_utils import is_torch_bf16_gpu_available

from preftune.errors import ConfigError, Problem, did_you_mean
from preftune.losses import Method
from preftune.model.reference.reference import FrozenCopy, KeptAdapter, Reference
from preftune.ranks import deepspeed_problems
from preftune.runs.arguments import checkpointing_argument
from preftune.settings.foreign import NO_DEEPSPEED
from preftune.settings.packages import missing_loggers
from preftune.training.reference_sync import ReferenceSync


def check_loss_type(loss_type: str, known: Collection[str]) -> None:
    """Raise a ConfigError for a loss type that the trainer does not support."""
    if loss_type not in known:
        raise ConfigError([unknown_loss_type(loss_type, known)])


def unknown_loss_type(loss_type: object, known: Collection[str]) -> str:
    """Error text for a loss type that the trainer does not support.

    >>> unknown_loss_type("dpo", ["kto", "apo_zero_unpaired"])
    "loss_type = 'dpo': not supported. Loss types: kto, apo_zero_unpaired."
    """
    return f"loss_type = {loss_type!r}: not supported. Loss types: {', '.join(known)}."


def weighted(loss: str, weight: float) -> str:
    """A weighted loss in the notation of sums of losses.

    >>> weighted("dpo", 0.8), weighted("dpo", 1)
    ('0.8*dpo', 'dpo')
    """
    return loss if weight == 1 else f"{float(weight)!r}*{loss}"


def renamed(problems: Iterable[str], names: Mapping[str, str]) -> Iterator[str]:
    """Problems of options, under the names of the fields that set them.

    >>> list(renamed([Problem("tau", 0, "must be above 0.")], {"tau": "beta"}))
    ['beta = 0: must be above 0.']
    """
    for problem in problems:
        yield problem.under(names.get(problem.setting, problem.setting)) if isinstance(problem, Problem) else problem


@dataclass(frozen=True, slots=True)
class ReferencePlan:
    """Treatment of the reference during a run.

    Args:
        num_at_once: Pairs or completions per forward while log-probs are precomputed; None: no precomputation.
        mix: Weight of the policy in each update of the reference, in (0, 1]; None: the reference is frozen.
        every: Steps between two updates.
    """

    num_at_once: int | None = None
    mix: float | None = None
    every: int = 1

    @property
    def moves(self) -> bool:
        """True if the reference follows the policy."""
        return self.mix is not None

    def sync(self, reference: Reference) -> ReferenceSync | None:
        """The updates of a moving reference; None if it is frozen."""
        if self.mix is None:
            return None
        assert isinstance(reference, (FrozenCopy, KeptAdapter)), type(reference).__name__
        return ReferenceSync(reference, mix=self.mix, every=self.every)


Accepted = Mapping[str, tuple[tuple[Any, ...], str]]
"""Fields that are supported for some values only: those values, and what to do instead of another."""

_ORDERS = ("random", "sequential")

_LEAVE = "Leave it at its default."
_ACCEPTED: Accepted = {
    "on_bad_row": (("error", "skip"), "Use error or skip."),
    "truncation_mode": (("keep_start",), "Use keep_start: sequences that are too long are cut at the end."),
    "pad_to_multiple_of": (("auto", None), _LEAVE),
    "router_aux_loss_coef": ((None, 0.0), "Set it to 0.0 to train without the loss that balances experts."),
    "activation_offloading": ((False,), _LEAVE),
    "pad_token": ((None,), "Set tokenizer.pad_token."),
    "label_smoothing_factor": ((0, 0.0), "Use label_smoothing, which losses that model flipped labels take."),
    "train_sampling_strategy": (_ORDERS, "Use random or sequential: micro-batches group similar lengths anyway."),
    "dataloader_drop_last": ((False,), "The last step of an epoch trains on the remaining rows."),
    "auto_find_batch_size": ((False,), "Lower per_device_train_batch_size and raise gradient_accumulation_steps."),
    "include_num_input_tokens_seen": ((False, "no"), "The log holds num_tokens."),
    "bf16_full_eval": ((False,), "Evaluation uses the precision of training."),
    "fp16_full_eval": ((False,), "Evaluation uses the precision of training."),
    "parallelism_config": ((None,), "Every process must have its own data."),
    "deepspeed": ((None,), NO_DEEPSPEED),
}


@dataclass
class TuningConfig(TrainingArguments, ABC):
    """Arguments of transformers plus those that all trainers share, with the names and defaults of TRL 1.16.

    An optimizer step uses `per_device_train_batch_size * gradient_accumulation_steps` rows per process. The former
    bounds memory: a micro-batch has no more tokens than that many of the longest rows. `per_device_eval_batch_size`
    does the same for held-out rows.

    Args:
        max_length: Longest prompt + completion, in tokens; None: no limit. Longer sequences are cut at the end, and a
            row whose prompt alone reaches the limit is dropped. The trainer's `data_reports` count both.
        max_tokens_per_microbatch: Most tokens in one forward and backward, a shared prompt counted once. Lower it to
            save memory: results do not depend on it. Default: what `per_device_train_batch_size` rows need.
        disable_dropout: Turn off all dropout, including that of adapters.
        dataset_num_proc: Processes that tokenize.
        on_bad_row: `error`: rows that cannot be used, such as an empty completion or equal chosen and rejected, are
            counted in an error. `skip`: they are left out and counted in `data_reports`. TRL does not have it.
        model_init_kwargs: Arguments of `from_pretrained` for a model given by id or path. Weights are float32 unless
            `dtype` says otherwise.
        trust_remote_code: Run the Python code in the model's repository.
        bf16: Compute in bfloat16. Default: true on a GPU that supports it, unless `fp16` or `use_cpu` is set.
    Raises:
        ConfigError: invalid values and unsupported fields, all at once.
    Differs: on a CPU the default is float32, where TRL 1.16 stops or, with `use_cpu`, trains in bfloat16.
    """

    _VALID_DICT_FIELDS = [*TrainingArguments._VALID_DICT_FIELDS, "model_init_kwargs"]  # noqa: RUF012

    accepted: ClassVar[Accepted] = _ACCEPTED
    option_fields: ClassVar[Mapping[str, str]] = {}
    """Names of the fields that set options of the method, where the two differ."""

    learning_rate: float = field(default=1e-6, metadata={"help": "Peak learning rate."})
    logging_steps: float = field(
        default=10, metadata={"help": "Steps between logged metrics; below 1: share of all steps."}
    )
    gradient_checkpointing: bool = field(
        default=True,
        metadata={"help": "Recompute activations in the backward pass, which saves memory and takes longer."},
    )
    bf16: bool | None = field(
        default=None, metadata={"help": "Compute in bfloat16. Default: if the GPU supports it and fp16 is not set."}
    )  # type: ignore[assignment]

    model_init_kwargs: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Arguments of `from_pretrained` for a model given by id or path."}
    )
    trust_remote_code: bool = field(default=False, metadata={"help": "Run the Python code in the model's repository."})
    router_aux_loss_coef: float | None = field(
        default=None, metadata={"help": "Weight of the loss that balances experts: not supported."}
    )
    disable_dropout: bool = field(default=True, metadata={"help": "Turn off dropout in policy and reference."})
    dataset_num_proc: int | None = field(default=None, metadata={"help": "Processes that tokenize. Default: one."})
    max_length: int | None = field(default=1024, metadata={"help": "Longest prompt + completion, in tokens."})
    max_tokens_per_microbatch: int | None = field(
        default=None,
        metadata={"help": "Most tokens per forward; lower saves memory. Default: as a batch needs."},
    )
    on_bad_row: str = field(
        default="error", metadata={"help": "error: stop at rows that cannot be used; skip: leave them out."}
    )
    truncation_mode: str = field(
        default="keep_start", metadata={"help": "Part of a too long sequence that is kept: keep_start."}
    )
    padding_free: bool = field(
        default=False, metadata={"help": "Rows without padding: they always are where the model allows it."}
    )
    pad_to_multiple_of: int | str | None = field(
        default="auto", metadata={"help": "Pad rows to a multiple of this: not supported."}
    )
    activation_offloading: bool = field(
        default=False, metadata={"help": "Keep activations in CPU memory: not supported."}
    )
    pad_token: str | None = field(default=None, metadata={"help": "The padding token: set it on the tokenizer."})

    def __post_init__(self) -> None:
        self._normalise()
        self.check()
        if self.bf16 is None:
            self.bf16 = not self.fp16 and not self.use_cpu and is_torch_bf16_gpu_available()
        name = checkpointing_argument()
        if getattr(self, name) is None:
            setattr(self, name, self.gradient_checkpointing)
        super().__post_init__()  # type: ignore[no-untyped-call]

    @classmethod
    def of(cls, args: TrainingArguments, settings: Mapping[str, Any]) -> Self:
        """Arguments of transformers extended by the fields of this config, for older scripts.

        Args:
            args: Copied, not modified. `__post_init__` is not run again.
            settings: Fields of this config by name; the others take their defaults.
        Raises:
            ConfigError: invalid values and unsupported fields, all at once.
        """
        config = object.__new__(cls)
        added = {name: value for name, value in _defaults(cls).items() if name not in vars(args)}
        vars(config).update({**copy.copy(vars(args)), **added, **settings})
        config._normalise()
        config.check()
        return config

    def check(self) -> None:
        """Raise a ConfigError with every problem of the fields, if there is any."""
        problems = list(self._problems())
        if problems:
            raise ConfigError(problems)

    @property
    @abstractmethod
    def method(self) -> Method:
        """The loss and its options.

        Raises:
            ConfigError: an option out of its range.
        """

    @property
    def reference_plan(self) -> ReferencePlan:
        """Treatment of the reference: frozen and computed on the fly by default."""
        return ReferencePlan()

    @property
    def skips_bad_rows(self) -> bool:
        """True if rows that cannot be used are left out."""
        return self.on_bad_row == "skip"

    @property
    def shuffles(self) -> bool:
        """True if every epoch has its own order."""
        return self.train_sampling_strategy == "random"

    def remarks(self) -> Iterator[str]:
        """A line for each field that is set and changes nothing, as in TRL or since rows are packed in any case."""
        if self.padding_free:
            yield "padding_free: rows are packed without padding in any case, where the model allows it."

    def attributes(self) -> dict[str, Any]:
        """Attributes that TRL's trainers set from their config, by name."""
        return {"aux_loss_enabled": False}

    def learns_prompts(self, row: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """True if the loss covers the prompt, too, for rows with the columns of this one."""
        return False

    def _normalise(self) -> None:
        """Convert fields that accept several types to one."""

    def _problems(self) -> Iterator[str]:
        yield from self._method_problems()
        yield from deepspeed_problems()
        loggers = [self.report_to] if isinstance(self.report_to, str) else self.report_to
        yield from missing_loggers(loggers or [])
        if self.max_length is not None and self.max_length < 2:
            yield f"max_length = {self.max_length}: must be at least 2: a prompt token and a completion token."
        for name, count in self._counts().items():
            if count is not None and count < 1:
                yield f"{name} = {count}: must be at least 1."
        if self.data_seed not in (None, self.seed):
            yield f"data_seed = {self.data_seed}: the order depends on seed = {self.seed}. Leave it out, or set seed."
        for name, (values, advice) in self.accepted.items():
            value = getattr(self, name)
            if value not in values:
                yield f"{name} = {value!r}: not supported. {advice}"

    def _method_problems(self) -> Iterator[str]:

        try:
            self.method  # noqa: B018
        except ConfigError as error:
            yield from renamed(error.problems, self.option_fields)

    def _counts(self) -> dict[str, int | None]:
        return {
            "dataset_num_proc": self.dataset_num_proc,
            "max_tokens_per_microbatch": self.max_tokens_per_microbatch,
            "per_device_train_batch_size": self.per_device_train_batch_size,
            "per_device_eval_batch_size": self.per_device_eval_batch_size,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }


def _defaults(config: type[TuningConfig]) -> dict[str, Any]:
    inherited = {item.name for item in fields(TrainingArguments)}
    return {
        item.name: item.default if item.default_factory is MISSING else item.default_factory()
        for item in fields(config)
        if item.name not in inherited
    }


_NOT_TAKEN = {
    "data_collator": "Batches are planned and need none.",
    "compute_metrics": "The method defines the metrics.",
    "model_init": "Give the model.",
    "preprocess_logits_for_metrics": "There are no logits: log-probs are computed without them.",
    "compute_loss_func": "The trainer defines the loss.",
    "optimizer_cls_and_kwargs": "Give optimizers=(optimizer, scheduler), or name one with `optim`.",
    "formatting_func": "Format the rows beforehand, with `dataset.map`.",
}
"""Arguments of TRL's trainers that are not supported, and what to do instead."""


def given_config(
    kind: type[TuningConfig],
    args: TrainingArguments | None,
    settings: Mapping[str, Any],
    model_name: str,
    problems: list[str],
) -> TuningConfig:
    """The checked config of a run.

    Args:
        args: An instance of `kind`, plain arguments of transformers, or None.
        settings: Fields of `kind` by name, if `args` is not one.
        model_name: Names the output folder if there are no `args`.
        problems: Problems found earlier, raised together with those found here.
    Raises:
        ConfigError: every problem.
    """
    given = {name: value for name, value in settings.items() if not (name in _NOT_TAKEN and value is None)}
    problems = [*problems, *_argument_problems(kind, args, given)]
    if problems:
        raise ConfigError(problems)
    if isinstance(args, kind):
        args.check()  # fields may have been set since it was made
        return args
    if args is not None:
        return kind.of(args, given)
    return kind(**{"output_dir": f"{model_name}-{kind.__name__.removesuffix('Config')}", **given})


def _argument_problems(
    kind: type[TuningConfig], args: TrainingArguments | None, settings: Mapping[str, Any]
) -> Iterator[str]:
    if isinstance(args, TuningConfig) and not isinstance(args, kind):
        yield f"args: is a {type(args).__name__}, and this trainer takes a {kind.__name__}. Give one."
    known = {item.name for item in fields(kind)}
    for name, value in settings.items():
        if name in _NOT_TAKEN:
            yield f"{name}: not supported. {_NOT_TAKEN[name]}"
        elif isinstance(args, kind):
            yield f"{name} = {value!r}: args is a {kind.__name__}, which has this field. Set {name} there."
        elif name not in known:
            yield f"{name}: not a supported argument. {did_you_mean(name, known)}".rstrip()
