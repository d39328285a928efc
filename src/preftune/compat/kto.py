"""KTO with TRL's names: `KTOConfig`, `KTOTrainer`."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from typing_extensions import override

from preftune.compat.referenced_config import ReferencedConfig
from preftune.compat.tuning_config import check_loss_type
from preftune.compat.tuning_trainer import TuningTrainer
from preftune.losses import Method

_LOSS_TYPES = ("kto", "apo_zero_unpaired")


@dataclass
class KTOConfig(ReferencedConfig):
    """Settings of KTO: `ReferencedConfig` plus the loss fields of TRL 1.16.

    A row is one completion, labelled good or bad: `per_device_train_batch_size` counts completions.

    Args:
        loss_type: `kto` or `apo_zero_unpaired`.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference.
        desirable_weight: Weight of desirable completions, > 0: the most that one can lose.
        undesirable_weight: Weight of undesirable completions, > 0: the most that one can lose.
        train_sampling_strategy: `sequential`, as in TRL, or `random`.
    Raises:
        ConfigError: invalid values and unsupported fields, all at once.
    Differs: the order can be random and a batch can be a single completion: mismatched prompts and completions, which
        estimate the KL, are matched over the whole data set, where TRL 1.16 matches neighbours of a micro-batch.

    >>> KTOConfig(output_dir="run", beta=0.5, use_cpu=True).method.options["beta"]
    0.5
    """

    train_sampling_strategy: str = field(
        default="sequential", metadata={"help": "sequential: in the order of the data; random: shuffled each epoch."}
    )
    loss_type: str = field(default="kto", metadata={"help": "The loss: kto or apo_zero_unpaired."})
    beta: float = field(
        default=0.1, metadata={"help": "Reward per nat of logratio. Higher keeps the policy closer to the reference."}
    )
    desirable_weight: float = field(default=1.0, metadata={"help": "Weight of desirable completions, > 0."})
    undesirable_weight: float = field(default=1.0, metadata={"help": "Weight of undesirable completions, > 0."})

    @override
    def attributes(self) -> dict[str, Any]:
        names = ("beta", "loss_type", "desirable_weight", "undesirable_weight")
        return {**super().attributes(), **{name: getattr(self, name) for name in names}}

    @property
    @override
    def method(self) -> Method:
        check_loss_type(self.loss_type, _LOSS_TYPES)
        options = ("beta", "desirable_weight", "undesirable_weight")
        return Method.named(self.loss_type, {name: getattr(self, name) for name in options})


class KTOTrainer(TuningTrainer):
    """Kahneman-Tversky Optimization, from single completions that are good or bad. Arguments: see `TuningTrainer`.

    `args` is a `KTOConfig`. Rows have `prompt`, `completion` and `label` (true for desirable). A row with `chosen` and
    `rejected` is a desirable and an undesirable completion.

    Differs: both completions of a pair are in the same step. The KL estimate that rewards are compared with, `kl` in
        TRL's logs, is not logged.
    """

    config_class = KTOConfig
    _tag_names: ClassVar[list[str]] = ["preftune", "kto"]
