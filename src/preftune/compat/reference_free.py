"""Methods without a reference with TRL's names: CPO, ORPO and SFT."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from typing_extensions import override

from preftune.compat.tuning_config import Accepted, TuningConfig, check_loss_type, weighted
from preftune.compat.tuning_trainer import ReferenceFreeTrainer
from preftune.errors import ConfigError
from preftune.losses import Method, OptionValue

_CAUSAL = "Only causal language models are trained. Leave it at its default."


@dataclass
class ReferenceFreeConfig(TuningConfig):
    """`TuningConfig` plus the fields of TRL's CPO and ORPO that are not supported here."""

    accepted: ClassVar[Accepted] = {
        **TuningConfig.accepted,
        "max_completion_length": ((None,), _CAUSAL + " max_length bounds prompt and completion together."),
        "is_encoder_decoder": ((None, False), _CAUSAL),
        "generate_during_eval": ((False,), "Leave it out, and run `preftune generate` on a checkpoint."),
    }

    max_completion_length: int | None = field(
        default=None, metadata={"help": "Longest completion of an encoder-decoder: not supported."}
    )
    is_encoder_decoder: bool | None = field(
        default=None, metadata={"help": "The model is an encoder-decoder: not supported."}
    )
    generate_during_eval: bool = field(
        default=False, metadata={"help": "Write samples while evaluating: not supported."}
    )


_GAMMA = 0.5
_CPO_LOSS_TYPES = ("sigmoid", "hinge", "simpo")


@dataclass
class CPOConfig(ReferenceFreeConfig):
    """Settings of CPO and SimPO: the loss fields of TRL 1.16, with its defaults.

    Args:
        loss_type: `sigmoid`, `hinge` or `simpo`.
        beta: Reward per nat of log-prob, > 0; for `simpo` per nat of the mean over tokens.
        cpo_alpha: Weight of SFT on the chosen answers, >= 0. `simpo` with 0 is SimPO.
        simpo_gamma: Target margin of rewards, for `simpo`, >= 0.
    Raises:
        ConfigError: invalid values and unsupported fields, all at once.
    Differs: SFT is averaged over all tokens of the chosen answers of a step; TRL 1.16 averages over a micro-batch.

    >>> CPOConfig(output_dir="run", loss_type="simpo", cpo_alpha=0.5, use_cpu=True).method.name
    'simpo + 0.5*preferred_ft'
    """

    accepted: ClassVar[Accepted] = {
        **ReferenceFreeConfig.accepted,
        "label_smoothing": ((0.0,), "No loss without a reference takes it. Leave it out, or use DPOTrainer."),
        "alpha": ((0.0,), "AlphaPO is not implemented. Leave it out."),
    }
    option_fields: ClassVar[Mapping[str, str]] = {"gamma": "simpo_gamma"}

    loss_type: str = field(default="sigmoid", metadata={"help": "The loss: sigmoid, hinge or simpo."})
    beta: float = field(default=0.1, metadata={"help": "Reward per nat of log-prob."})
    label_smoothing: float = field(
        default=0.0, metadata={"help": "Probability that a label is flipped: not supported."}
    )
    cpo_alpha: float = field(default=1.0, metadata={"help": "Weight of SFT on the chosen answers, >= 0."})
    simpo_gamma: float = field(default=_GAMMA, metadata={"help": "Target margin of rewards, for simpo, >= 0."})
    alpha: float = field(default=0.0, metadata={"help": "Shape of the reward (AlphaPO): not supported."})

    @property
    @override
    def method(self) -> Method:
        check_loss_type(self.loss_type, _CPO_LOSS_TYPES)
        preference, options = self._preference()
        if self.cpo_alpha == 0:
            return Method.named(preference, options)
        return Method.named(f"{preference} + {weighted('preferred_ft', self.cpo_alpha)}", options)

    def _preference(self) -> tuple[str, dict[str, OptionValue]]:
        """The loss without SFT, and its options."""
        match self.loss_type:
            case "simpo":
                return "simpo", {"beta": self.beta, "gamma": self.simpo_gamma}
            case "hinge":
                # max(0, 1 - beta * difference) is beta * max(0, 1 / beta - difference)
                return weighted("slic", self.beta), {"delta": 1 / self.beta, "lambda_reg": 0.0}
            case _:
                return "cpo", {"beta": self.beta, "sft_weight": 0.0}

    @override
    def attributes(self) -> dict[str, Any]:
        names = ("beta", "loss_type", "label_smoothing", "cpo_alpha", "simpo_gamma", "alpha", "max_length")
        return {**super().attributes(), **{name: getattr(self, name) for name in names}}

    @override
    def _method_problems(self) -> Iterator[str]:
        if not 0 < self.beta < float("inf"):
            yield f"beta = {self.beta}: must be a finite number > 0."
        elif not 0 <= self.cpo_alpha < float("inf"):
            yield f"cpo_alpha = {self.cpo_alpha}: must be a finite number >= 0. At 0 there is no SFT term."
        else:
            yield from super()._method_problems()
        if self.loss_type != "simpo" and self.simpo_gamma != _GAMMA:
            yield f"simpo_gamma = {self.simpo_gamma}: unused without loss_type = 'simpo'. Leave it out."


class CPOTrainer(ReferenceFreeTrainer):
    """Contrastive Preference Optimization and SimPO, from pairs, without a reference. Arguments: see `TuningTrainer`.

    `args` is a `CPOConfig`. Rows are those of `DPOTrainer`.
    """

    config_class = CPOConfig
    _tag_names: ClassVar[list[str]] = ["preftune", "cpo"]


@dataclass
class ORPOConfig(ReferenceFreeConfig):
    """Settings of ORPO: the loss fields of TRL 1.16, with its defaults.

    Args:
        beta: Weight of the odds ratio relative to SFT on the chosen answers, > 0; lambda in the paper.
    Raises:
        ConfigError: invalid values and unsupported fields, all at once.
    Differs: SFT is averaged over all tokens of the chosen answers of a step; TRL 1.16 averages over the tokens of
        prompts and chosen answers of a micro-batch.

    >>> ORPOConfig(output_dir="run", beta=0.5, use_cpu=True).method.name
    'orpo + preferred_ft'
    """

    accepted: ClassVar[Accepted] = {
        **ReferenceFreeConfig.accepted,
        "padding_value": ((None,), "Set tokenizer.pad_token."),
    }
    option_fields: ClassVar[Mapping[str, str]] = {"lambda_or": "beta"}

    beta: float = field(default=0.1, metadata={"help": "Weight of the odds ratio relative to SFT."})
    padding_value: int | None = field(default=None, metadata={"help": "The padding token's id: not supported."})

    @override
    def attributes(self) -> dict[str, Any]:
        return {**super().attributes(), "beta": self.beta, "max_length": self.max_length}

    @property
    @override
    def method(self) -> Method:
        return Method.named("orpo + preferred_ft", {"orpo.lambda_or": self.beta, "orpo.sft_weight": 0.0})


class ORPOTrainer(ReferenceFreeTrainer):
    """Odds Ratio Preference Optimization: SFT and preferences in one phase. Arguments: see `TuningTrainer`.

    `args` is an `ORPOConfig`. Rows are those of `DPOTrainer`.
    """

    config_class = ORPOConfig
    _tag_names: ClassVar[list[str]] = ["preftune", "orpo"]


@dataclass
class SFTConfig(TuningConfig):
    """Settings of supervised fine-tuning: `TuningConfig` plus the SFT fields of TRL 1.16, with its defaults.

    Args:
        completion_only_loss: Compute the loss on completions alone. Default: true for rows with `prompt` and
            `completion`, false for rows with `messages`.
        disable_dropout: Turn off dropout. False by default, as in TRL.
    Raises:
        ConfigError: invalid values and unsupported fields, all at once.

    >>> SFTConfig(output_dir="run", use_cpu=True).method.name
    'sft'
    """

    accepted: ClassVar[Accepted] = {
        **TuningConfig.accepted,
        "loss_type": (("nll", "chunked_nll"), "Loss types: nll."),
        "assistant_only_loss": ((False,), "Give rows of prompt and completion: the loss is then on completions alone."),
        "chat_template_path": ((None,), "Set tokenizer.chat_template."),
        "eos_token": ((None,), "Set tokenizer.eos_token."),
        "dataset_text_field": (("text",), "Give rows of prompt and completion, or of messages."),
        "dataset_kwargs": ((None,), "Give rows of prompt and completion, or of messages."),
        "shuffle_dataset": ((False,), "Each epoch is shuffled unless train_sampling_strategy is sequential."),
    }

    learning_rate: float = field(default=2e-5, metadata={"help": "Peak learning rate."})
    disable_dropout: bool = field(default=False, metadata={"help": "Turn off dropout."})
    completion_only_loss: bool | None = field(
        default=None, metadata={"help": "Loss on completions alone. Default: for rows with prompt and completion."}
    )
    assistant_only_loss: bool = field(
        default=False, metadata={"help": "Loss on the assistant's turns of messages alone: not supported."}
    )
    loss_type: str = field(default="nll", metadata={"help": "The loss: nll."})
    packing: bool = field(default=False, metadata={"help": "Pack rows: they always are, and a step counts rows."})
    packing_strategy: str = field(default="bfd", metadata={"help": "Strategy for packing rows: unused."})
    eval_packing: bool | None = field(default=None, metadata={"help": "Pack held-out rows: they always are."})
    chat_template_path: str | None = field(
        default=None, metadata={"help": "The chat template: set it on the tokenizer."}
    )
    eos_token: str | None = field(
        default=None, metadata={"help": "The end-of-sequence token: set it on the tokenizer."}
    )
    dataset_text_field: str = field(default="text", metadata={"help": "Column of plain texts: not supported."})
    dataset_kwargs: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Options of row preparation: not supported."}
    )
    shuffle_dataset: bool = field(default=False, metadata={"help": "Shuffle the rows once: not supported."})

    @property
    @override
    def method(self) -> Method:
        return Method.named("sft")

    @override
    def remarks(self) -> Iterator[str]:
        yield from super().remarks()
        if self.packing or self.eval_packing:
            yield (
                "packing: rows are packed without padding in any case, where the model allows it. "
                "per_device_train_batch_size counts rows; in TRL it counts packed sequences of max_length tokens."
            )

    @override
    def learns_prompts(self, row: Mapping[str, Any]) -> bool:
        has_completion = row.get("completion") is not None
        if self.completion_only_loss and not has_completion:
            raise ConfigError(
                [
                    "completion_only_loss = True: rows of messages have no completion. Leave it out to train on "
                    "all turns, or give rows of prompt and completion."
                ]
            )
        return not (has_completion if self.completion_only_loss is None else self.completion_only_loss)


class SFTTrainer(ReferenceFreeTrainer):
    """Supervised fine-tuning. Arguments: see `TuningTrainer`.

    `args` is an `SFTConfig`. Rows have `prompt` and `completion`, as text or messages, with the loss on the completion;
    or `messages` that end with the assistant's turn, with the loss on all of them.
    """

    config_class = SFTConfig
    order: ClassVar[Sequence[str]] = (
        *("args", "data_collator", "train_dataset", "eval_dataset", "processing_class", "compute_loss_func"),
        *("compute_metrics", "callbacks", "optimizers", "optimizer_cls_and_kwargs", "preprocess_logits_for_metrics"),
        *("quantization_config", "peft_config", "formatting_func"),
    )
    _tag_names: ClassVar[list[str]] = ["preftune", "sft"]
