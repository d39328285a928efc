"""`TuningConfig`: what the configs of all trainers with TRL's names have in common."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Self

from transformers import TrainingArguments
from transformers.utils.import_utils import is_torch_bf16_gpu_available

from preftune.compat.loss_type import renamed
from preftune.compat.reference_plan import ReferencePlan
from preftune.errors import ConfigError
from preftune.losses import Method
from preftune.runs.arguments import checkpointing_argument

__all__ = ["Accepted", "TuningConfig"]

Accepted = Mapping[str, tuple[tuple[Any, ...], str]]
"""Fields that only some values are taken of, and what to do instead of another."""

_ORDERS = ("random", "sequential")

_LATER = "Leave it at its default."

_ACCEPTED: Accepted = {
    "truncation_mode": (("keep_start",), "Use keep_start: the end of what is too long is cut."),
    "padding_free": ((False,), "Rows are packed without padding anyway, where the model allows it. " + _LATER),
    "pad_to_multiple_of": (("auto", None), _LATER),
    "router_aux_loss_coef": ((None, 0.0), "Set it to 0.0 to train without the loss that balances experts."),
    "activation_offloading": ((False,), _LATER),
    "pad_token": ((None,), "Set tokenizer.pad_token."),
    "label_smoothing_factor": ((0, 0.0), "Losses that know of flipped labels have label_smoothing."),
    "train_sampling_strategy": (_ORDERS, "Use random or sequential: micro-batches are made of like lengths anyway."),
    "dataloader_drop_last": ((False,), "The last step learns from what is left."),
    "auto_find_batch_size": ((False,), "Lower per_device_train_batch_size and raise gradient_accumulation_steps."),
    "include_num_input_tokens_seen": ((False, "no"), "The log holds num_tokens."),
    "bf16_full_eval": ((False,), "Held-out data are evaluated in the precision of training."),
    "fp16_full_eval": ((False,), "Held-out data are evaluated in the precision of training."),
    "parallelism_config": ((None,), "Every process must hold data of its own."),
    "deepspeed": ((None,), "Use one GPU, DDP or FSDP."),
}


@dataclass
class TuningConfig(TrainingArguments, ABC):
    """Arguments of transformers, and those of all trainers here, by the names and with the defaults of TRL 1.16.

    An optimizer step learns from `per_device_train_batch_size * gradient_accumulation_steps` rows per process. The
    former bounds the memory: no micro-batch takes more than that many of the longest rows would. So does
    `per_device_eval_batch_size` for held-out rows.

    Args:
        max_length: Longest prompt + completion, in tokens; None: no bound. The end of what is longer is cut, and a row
            whose prompt alone is so long is left out. Both are counted in the trainer's `data_reports`.
        max_tokens_per_microbatch: Most tokens in a forward and backward at once, a prompt counted once: the way to less
            memory. Results do not depend on it. Default: as many as `per_device_train_batch_size` rows need.
        disable_dropout: Whether to turn off all dropout, that of adapters too.
        dataset_num_proc: Processes that tokenize.
        model_init_kwargs: Arguments of `from_pretrained`, where the model is given by id or path. Weights are held in
            float32 unless `dtype` says otherwise.
        trust_remote_code: Whether to run the Python code that a model's repository brings.
        bf16: Default: whether there is a GPU that has it, unless `fp16` or `use_cpu` is set.
    Raises:
        ConfigError: values that cannot work and fields that are not supported, all at once.
    Differs: on a CPU the default is float32, where TRL 1.16 stops or, with `use_cpu`, trains in bfloat16.
    """

    _VALID_DICT_FIELDS = [*TrainingArguments._VALID_DICT_FIELDS, "model_init_kwargs"]  # noqa: RUF012

    accepted: ClassVar[Accepted] = _ACCEPTED
    option_fields: ClassVar[Mapping[str, str]] = {}
    """Fields that options of the method come from, where they have other names."""

    learning_rate: float = field(default=1e-6, metadata={"help": "Peak learning rate."})
    logging_steps: float = field(
        default=10, metadata={"help": "Steps between logged metrics; below 1: share of all steps."}
    )
    gradient_checkpointing: bool = field(
        default=True, metadata={"help": "Recompute activations in the backward pass: less memory, slower."}
    )
    bf16: bool | None = field(
        default=None, metadata={"help": "Compute in bfloat16. Default: if a GPU has it and fp16 is not set."}
    )  # type: ignore[assignment]

    model_init_kwargs: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Arguments of `from_pretrained`, where the model is given by id or path."}
    )
    trust_remote_code: bool = field(
        default=False, metadata={"help": "Run the Python code that the model's repository brings."}
    )
    router_aux_loss_coef: float | None = field(
        default=None, metadata={"help": "Weight of the loss that balances experts: not supported."}
    )
    disable_dropout: bool = field(default=True, metadata={"help": "Turn off dropout in policy and reference."})
    dataset_num_proc: int | None = field(default=None, metadata={"help": "Processes that tokenize. Default: one."})
    max_length: int | None = field(default=1024, metadata={"help": "Longest prompt + completion, in tokens."})
    max_tokens_per_microbatch: int | None = field(
        default=None, metadata={"help": "Most tokens at once, for less memory. Default: what the rows of a batch need."}
    )
    truncation_mode: str = field(
        default="keep_start", metadata={"help": "What stays of a text that is too long: keep_start."}
    )
    padding_free: bool = field(default=False, metadata={"help": "Rows without padding: not supported."})
    pad_to_multiple_of: int | str | None = field(
        default="auto", metadata={"help": "Pad rows to a multiple of this: not supported."}
    )
    activation_offloading: bool = field(
        default=False, metadata={"help": "Keep activations in CPU memory: not supported."}
    )
    pad_token: str | None = field(default=None, metadata={"help": "The padding token: set it at the tokenizer."})

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
        """Arguments of transformers with the fields of this config added, as older scripts give them.

        Args:
            args: Stays as it is. Not set up anew.
            settings: Fields of this config by name; those not given take their defaults.
        Raises:
            ConfigError: values that cannot work and fields that are not supported, all at once.
        """
        config = object.__new__(cls)
        added = {name: value for name, value in _defaults(cls).items() if name not in vars(args)}
        vars(config).update({**copy.copy(vars(args)), **added, **settings})
        config._normalise()
        config.check()
        return config

    def check(self) -> None:
        """Make sure that all fields can work.

        Raises:
            ConfigError: they cannot; every problem is named.
        """
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
        """What becomes of the reference."""
        return ReferencePlan()

    @property
    def shuffles(self) -> bool:
        """Whether each epoch has an order of its own."""
        return self.train_sampling_strategy == "random"

    def learns_prompts(self, row: Mapping[str, Any]) -> bool:  # noqa: ARG002
        """Whether all tokens are learned and not those of completions alone, in rows like this one."""
        return False

    def _normalise(self) -> None:
        """Bring fields that can be given in several ways into one."""

    def _problems(self) -> Iterator[str]:
        yield from self._method_problems()
        if self.max_length is not None and self.max_length < 2:
            yield f"max_length = {self.max_length}: must be at least 2, a prompt token and a completion token."
        for name, count in self._counts().items():
            if count is not None and count < 1:
                yield f"{name} = {count}: must be at least 1."
        if self.data_seed not in (None, self.seed):
            yield f"data_seed = {self.data_seed}: the order depends on seed = {self.seed}. Leave it out or set seed."
        for name, (values, advice) in self.accepted.items():
            value = getattr(self, name)
            if value not in values:
                yield f"{name} = {value!r}: not supported. {advice}"

    def _method_problems(self) -> Iterator[str]:
        """What is wrong with the loss and its options."""
        try:
            self.method  # noqa: B018
        except ConfigError as error:
            yield from renamed(error.problems, self.option_fields)

    def _counts(self) -> dict[str, int | None]:
        """Fields that must be at least 1."""
        return {
            "dataset_num_proc": self.dataset_num_proc,
            "max_tokens_per_microbatch": self.max_tokens_per_microbatch,
            "per_device_train_batch_size": self.per_device_train_batch_size,
            "per_device_eval_batch_size": self.per_device_eval_batch_size,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }


def _defaults(config: type[TuningConfig]) -> dict[str, Any]:
    """The default of each field that `TrainingArguments` does not have."""
    inherited = {item.name for item in fields(TrainingArguments)}
    return {
        item.name: item.default if item.default_factory is MISSING else item.default_factory()
        for item in fields(config)
        if item.name not in inherited
    }
