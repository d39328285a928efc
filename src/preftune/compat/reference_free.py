"""CPO, SimPO and ORPO with TRL's names: configs and trainers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from typing_extensions import override

from preftune.compat.tuning_config import Accepted, TuningConfig, check_loss_type, weighted
from preftune.compat.tuning_trainer import ReferenceFreeTrainer
from preftune.losses import Method, OptionValue

__all__ = ["CPOConfig", "CPOTrainer", "ORPOConfig", "ORPOTrainer", "ReferenceFreeConfig"]

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

    @property
    @override
    def method(self) -> Method:
        return Method.named("orpo + preferred_ft", {"orpo.lambda_or": self.beta, "orpo.sft_weight": 0.0})


class ORPOTrainer(ReferenceFreeTrainer):
    """Odds Ratio Preference Optimization: SFT and preferences in one phase. Arguments: see `TuningTrainer`.

    `args` is an `ORPOConfig`. Rows are those of `DPOTrainer`.
    """

    config_class = ORPOConfig
