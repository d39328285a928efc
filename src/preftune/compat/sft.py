"""Supervised fine-tuning with TRL's names: `SFTConfig`, `SFTTrainer`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from typing_extensions import override

from preftune.compat.tuning_config import Accepted, TuningConfig
from preftune.compat.tuning_trainer import ReferenceFreeTrainer
from preftune.errors import ConfigError
from preftune.losses import Method

__all__ = ["SFTConfig", "SFTTrainer"]

_PACKED = (
    "Rows are packed without padding wherever the model allows it, and a step keeps its number of rows. Leave it out, "
    "and raise per_device_train_batch_size if memory is left."
)


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
        "packing": ((False,), _PACKED),
        "eval_packing": ((None, False), _PACKED),
        "packing_strategy": (("bfd",), _PACKED),
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
    packing: bool = field(default=False, metadata={"help": "Join several rows into one example: not supported."})
    packing_strategy: str = field(default="bfd", metadata={"help": "Strategy for joining rows: not supported."})
    eval_packing: bool | None = field(default=None, metadata={"help": "Packing of held-out rows: not supported."})
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
