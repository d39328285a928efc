"""`DPOConfig`: the settings of a DPO run under the names that users of TRL know."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from transformers import TrainingArguments
from transformers.utils.import_utils import is_torch_bf16_gpu_available

from preftune.errors import ConfigError
from preftune.losses import Method
from preftune.training.arguments import checkpointing_argument

__all__ = ["DPOConfig"]

_METHODS: Mapping[str, str] = {"sigmoid": "dpo"}
"""Our method for each loss type of TRL."""

_ORDERS = ("random", "sequential")

_LATER = "Leave it at its default."

_ACCEPTED: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "truncation_mode": (("keep_start",), "Use keep_start: the end of what is too long is cut."),
    "padding_free": ((False,), "Rows are packed without padding anyway, where the model allows it. " + _LATER),
    "pad_to_multiple_of": (("auto", None), _LATER),
    "loss_weights": ((None, [1.0]), "There is one loss, and its weight is 1."),
    "ld_alpha": ((None, 1.0), _LATER),
    "f_divergence_type": (("reverse_kl",), _LATER),
    "f_alpha_divergence_coef": ((0.5,), _LATER),
    "use_weighting": ((False,), _LATER),
    "discopop_tau": ((0.05,), _LATER),
    "router_aux_loss_coef": ((None, 0.0), "Set it to 0.0 to train without the loss that balances experts."),
    "activation_offloading": ((False,), _LATER),
    "sync_ref_model": ((False,), _LATER),
    "ref_model_mixup_alpha": ((0.6,), _LATER),
    "ref_model_sync_steps": ((512,), _LATER),
    "pad_token": ((None,), "Set tokenizer.pad_token."),
    "label_smoothing_factor": ((0, 0.0), "Use label_smoothing."),
    "train_sampling_strategy": (_ORDERS, "Use random or sequential: micro-batches are made of like lengths anyway."),
    "dataloader_drop_last": ((False,), "The last step learns from what is left."),
    "auto_find_batch_size": ((False,), "Lower per_device_train_batch_size and raise gradient_accumulation_steps."),
    "include_num_input_tokens_seen": ((False, "no"), "The log holds num_tokens."),
    "bf16_full_eval": ((False,), "Held-out data are evaluated in the precision of training."),
    "fp16_full_eval": ((False,), "Held-out data are evaluated in the precision of training."),
    "parallelism_config": ((None,), "Every process must hold data of its own."),
    "deepspeed": ((None,), "Use one GPU, DDP or FSDP."),
}
"""Fields that only some values are taken of, and what to do instead of another."""


@dataclass
class DPOConfig(TrainingArguments):
    """Arguments of transformers, and those of DPO, by the names and with the defaults of TRL 1.16.

    An optimizer step learns from `per_device_train_batch_size * gradient_accumulation_steps` pairs per process. The
    former bounds the memory: no micro-batch takes more than that many pairs of the longest would. So does
    `per_device_eval_batch_size` for held-out pairs.

    Args:
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        label_smoothing: Probability that a label is flipped, in [0, 0.5).
        loss_type: `sigmoid`, alone or in a list.
        max_length: Longest prompt + completion, in tokens; None: no bound. The end of what is longer is cut, and a row
            whose prompt alone is so long is left out. Both are counted in `DPOTrainer.data_reports`.
        precompute_ref_log_probs: Whether to compute the reference log-probs of all rows once before training. They are
            kept on disk by weights and tokens, so a second run computes only what is new, and the copy of the model
            that gives them leaves memory.
        precompute_ref_batch_size: Pairs at once while doing so; bounds the memory as the batch sizes do.
        disable_dropout: Whether to turn off all dropout, that of adapters too.
        dataset_num_proc: Processes that tokenize.
        model_init_kwargs: Arguments of `from_pretrained`, where the model is given by id or path. Weights are held in
            float32 unless `dtype` says otherwise.
        trust_remote_code: Whether to run the Python code that a model's repository brings.
        bf16: Default: whether there is a GPU that has it, unless `fp16` or `use_cpu` is set.
    Raises:
        ConfigError: values that cannot work and fields that are not supported, all at once.
    Differs: `label_smoothing` works for `sigmoid`, as in cDPO (Mitchell 2023) and TRL before 1.0; TRL 1.16 does not
        use it there. On a CPU the default is float32, where TRL 1.16 stops or, with `use_cpu`, trains in bfloat16.

    >>> config = DPOConfig(output_dir="run", beta=0.5, loss_type="sigmoid", use_cpu=True)
    >>> config.method.options["beta"], config.learning_rate, config.bf16
    (0.5, 1e-06, False)
    """

    _VALID_DICT_FIELDS = [*TrainingArguments._VALID_DICT_FIELDS, "model_init_kwargs"]  # noqa: RUF012

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
    truncation_mode: str = field(
        default="keep_start", metadata={"help": "What stays of a text that is too long: keep_start."}
    )
    padding_free: bool = field(default=False, metadata={"help": "Rows without padding: not supported."})
    pad_to_multiple_of: int | str | None = field(
        default="auto", metadata={"help": "Pad rows to a multiple of this: not supported."}
    )
    precompute_ref_log_probs: bool = field(
        default=False, metadata={"help": "Compute reference log-probs once, before training, and keep them."}
    )
    precompute_ref_batch_size: int | None = field(
        default=None, metadata={"help": "Pairs at once while doing so. Default: per_device_train_batch_size."}
    )

    loss_type: list[str] = field(
        default_factory=lambda: ["sigmoid"], metadata={"help": "The loss: sigmoid, which is DPO."}
    )
    loss_weights: list[float] | None = field(
        default=None, metadata={"help": "Weights of several losses: not supported."}
    )
    ld_alpha: float | None = field(
        default=None, metadata={"help": "Weight of what one answer is longer by (LD-DPO): not supported."}
    )
    f_divergence_type: str = field(
        default="reverse_kl", metadata={"help": "Divergence from the reference (f-DPO): reverse_kl."}
    )
    f_alpha_divergence_coef: float = field(
        default=0.5, metadata={"help": "Coefficient of the alpha divergence: not supported."}
    )
    label_smoothing: float = field(default=0.0, metadata={"help": "Probability that a label is flipped, in [0, 0.5)."})
    beta: float = field(
        default=0.1, metadata={"help": "Reward per nat of logratio. Higher keeps the policy closer to the reference."}
    )
    use_weighting: bool = field(
        default=False, metadata={"help": "Weights by the policy's own log-probs (WPO): not supported."}
    )
    discopop_tau: float = field(default=0.05, metadata={"help": "Temperature of the DiscoPOP loss: not supported."})
    activation_offloading: bool = field(
        default=False, metadata={"help": "Keep activations in CPU memory: not supported."}
    )
    sync_ref_model: bool = field(
        default=False, metadata={"help": "A reference that follows the policy (TR-DPO): not supported."}
    )
    ref_model_mixup_alpha: float = field(
        default=0.6, metadata={"help": "How far the reference follows: not supported."}
    )
    ref_model_sync_steps: int = field(
        default=512, metadata={"help": "Steps between which the reference follows: not supported."}
    )
    pad_token: str | None = field(default=None, metadata={"help": "The padding token: set it at the tokenizer."})

    def __post_init__(self) -> None:
        self.check()
        self.loss_type = _listed(self.loss_type)
        if self.bf16 is None:
            self.bf16 = not self.fp16 and not self.use_cpu and is_torch_bf16_gpu_available()
        name = checkpointing_argument()
        if getattr(self, name) is None:
            setattr(self, name, self.gradient_checkpointing)
        super().__post_init__()  # type: ignore[no-untyped-call]

    @staticmethod
    def of(args: TrainingArguments, settings: Mapping[str, Any]) -> "DPOConfig":
        """Arguments of transformers with the fields of DPO added, as older scripts give them.

        Args:
            args: Stays as it is. Not set up anew.
            settings: Fields of `DPOConfig` by name; those not given take their defaults.
        Raises:
            ConfigError: values that cannot work and fields that are not supported, all at once.
        """
        config = object.__new__(DPOConfig)
        added = {name: value for name, value in _defaults().items() if name not in vars(args)}
        vars(config).update({**copy.copy(vars(args)), **added, **settings})
        config.check()
        config.loss_type = _listed(config.loss_type)
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
    def method(self) -> Method:
        """The loss and its options.

        Raises:
            ConfigError: an option out of its range.
        """
        [loss_type] = _listed(self.loss_type)
        return Method.named(_METHODS[loss_type], {"beta": self.beta, "label_smoothing": self.label_smoothing})

    @property
    def shuffles(self) -> bool:
        """Whether each epoch has an order of its own."""
        return self.train_sampling_strategy == "random"

    def _problems(self) -> Iterator[str]:
        if _listed(self.loss_type) in [[name] for name in _METHODS]:
            try:
                self.method  # noqa: B018
            except ConfigError as error:
                yield from error.problems
        else:
            yield f"loss_type = {self.loss_type!r}: not supported yet. Supported: {', '.join(_METHODS)}."
        if self.max_length is not None and self.max_length < 2:
            yield f"max_length = {self.max_length}: must be at least 2, a prompt token and a completion token."
        counts = {
            "dataset_num_proc": self.dataset_num_proc,
            "precompute_ref_batch_size": self.precompute_ref_batch_size,
            "per_device_train_batch_size": self.per_device_train_batch_size,
            "per_device_eval_batch_size": self.per_device_eval_batch_size,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }
        for name, count in counts.items():
            if count is not None and count < 1:
                yield f"{name} = {count}: must be at least 1."
        yield from self._useless()

    def _useless(self) -> Iterator[str]:
        """Settings that would do nothing as they are."""
        if self.precompute_ref_batch_size is not None and not self.precompute_ref_log_probs:
            value = self.precompute_ref_batch_size
            yield f"precompute_ref_batch_size = {value}: idle without precompute_ref_log_probs. Set both or none."
        if self.data_seed not in (None, self.seed):
            yield f"data_seed = {self.data_seed}: the order depends on seed = {self.seed}. Leave it out or set seed."
        for name, (accepted, advice) in _ACCEPTED.items():
            value = getattr(self, name)
            if value not in accepted:
                yield f"{name} = {value!r}: not supported. {advice}"


def _listed(loss_type: list[str] | str) -> list[str]:
    return [loss_type] if isinstance(loss_type, str) else list(loss_type)


def _defaults() -> dict[str, Any]:
    """The default of each field that `TrainingArguments` does not have."""
    inherited = {item.name for item in fields(TrainingArguments)}
    return {
        item.name: item.default if item.default_factory is MISSING else item.default_factory()
        for item in fields(DPOConfig)
        if item.name not in inherited
    }
