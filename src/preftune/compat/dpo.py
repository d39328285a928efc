"""DPO and its family with TRL's names: loss types, `DPOConfig`, `DPOTrainer`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from typing_extensions import override

from preftune.compat.referenced_config import ReferencedConfig
from preftune.compat.tuning_config import renamed, unknown_loss_type, weighted
from preftune.compat.tuning_trainer import TuningTrainer
from preftune.errors import ConfigError
from preftune.losses import Method, OptionValue


@dataclass(frozen=True, slots=True)
class LossType:
    """A loss type of TRL as a loss of ours.

    Args:
        fields: Field of `DPOConfig` that an option takes its value from, by option.
        options: Further options that give it TRL's meaning.
    """

    loss: str
    fields: Mapping[str, str]
    options: Mapping[str, OptionValue] = field(default_factory=dict)


_BETA: Mapping[str, str] = {"beta": "beta"}
_SMOOTHED: Mapping[str, str] = {"beta": "beta", "label_smoothing": "label_smoothing"}

LOSS_TYPES: Mapping[str, LossType] = {
    "sigmoid": LossType("dpo", _SMOOTHED),
    "hinge": LossType("hinge", _BETA),
    "ipo": LossType("ipo", {"tau": "beta"}, {"length_normalized": True}),
    "exo_pair": LossType("exo_pair", _SMOOTHED),
    "nca_pair": LossType("nca_pair", _BETA),
    "robust": LossType("robust_dpo", _SMOOTHED),
    "bco_pair": LossType("bco_pair", _BETA, {"shift": False}),
    "sppo_hard": LossType("sppo_hard", _BETA),
    "aot": LossType("aot", _SMOOTHED),
    "aot_unpaired": LossType("aot_unpaired", _SMOOTHED),
    "apo_zero": LossType("apo_zero", _BETA),
    "apo_down": LossType("apo_down", _BETA),
    "discopop": LossType("discopop", {"beta": "beta", "tau": "discopop_tau"}),
    "sft": LossType("preferred_ft", {}),
    "sigmoid_norm": LossType("dpo_length_normalized", _BETA),
}

_DIVERGENCES: Mapping[str, str] = {
    "reverse_kl": "reverse_kl",
    "forward_kl": "forward_kl",
    "js_divergence": "js",
    "alpha_divergence": "alpha",
}
_DEFAULTS: Mapping[str, float] = {"beta": 0.1, "label_smoothing": 0.0, "discopop_tau": 0.05}
_COEFFICIENT = 0.5
_BESIDE: Mapping[str, Sequence[str]] = {
    "f_divergence_type": ("sigmoid", "sft"),
    "ld_alpha": ("sigmoid", "sft"),
    "use_weighting": ("sigmoid",),
}
"""Fields that turn `sigmoid` into another loss, with the loss types they may be combined with."""


@dataclass(frozen=True, slots=True)
class WantedLosses:
    """The losses of a `DPOConfig`. The fields have its names, and the meaning that TRL 1.16 gives them.

    >>> wanted = WantedLosses(["sigmoid", "sft"], [0.8, 1.0], beta=0.3)
    >>> wanted.method.name
    '0.8*dpo + preferred_ft'
    """

    loss_type: Sequence[str]
    loss_weights: Sequence[float] | None = None
    beta: float = _DEFAULTS["beta"]
    label_smoothing: float = _DEFAULTS["label_smoothing"]
    discopop_tau: float = _DEFAULTS["discopop_tau"]
    f_divergence_type: str = "reverse_kl"
    f_alpha_divergence_coef: float = _COEFFICIENT
    ld_alpha: float | None = None
    use_weighting: bool = False

    @property
    def method(self) -> Method:
        """The sum of losses.

        Raises:
            ConfigError: invalid loss types, weights or options; every problem, by field name.
        """
        problems = list(self._problems())
        if problems:
            raise ConfigError(problems)
        parts = list(map(self._part, self.loss_type))
        weights = self.loss_weights or [1.0] * len(parts)
        terms = (weighted(part.loss, weight) for part, weight in zip(parts, weights, strict=True))
        options = {f"{part.loss}.{name}": value for part in parts for name, value in self._options(part).items()}
        return Method.named(" + ".join(terms), options)

    def _part(self, loss_type: str) -> LossType:
        if loss_type != "sigmoid":
            return LOSS_TYPES[loss_type]
        match self._variants():
            case ["ld_alpha"]:
                return LossType("ld_dpo", {"beta": "beta", "alpha": "ld_alpha"})
            case ["use_weighting"]:
                return LossType("wpo", _BETA, {"clamped": False})
            case ["f_divergence_type"]:
                options: dict[str, OptionValue] = {"divergence": _DIVERGENCES[self.f_divergence_type]}
                if self.f_divergence_type == "alpha_divergence":
                    options["alpha"] = 1 - self.f_alpha_divergence_coef
                return LossType("dpo", _SMOOTHED, options)
            case _:
                return LOSS_TYPES[loss_type]

    def _options(self, part: LossType) -> dict[str, OptionValue]:
        return {**{name: getattr(self, source) for name, source in part.fields.items()}, **part.options}

    def _variants(self) -> list[str]:
        """The fields that turn `sigmoid` into another loss and are set."""
        wanted = {
            "f_divergence_type": self.f_divergence_type != "reverse_kl",
            "ld_alpha": self.ld_alpha not in (None, 1.0),
            "use_weighting": self.use_weighting,
        }
        return [name for name, is_set in wanted.items() if is_set]

    # --- problems ---------------------------------------------------------------------------------------------

    def _problems(self) -> Iterator[str]:
        unknown = [name for name in self.loss_type if name not in LOSS_TYPES]
        if unknown or not self.loss_type:
            yield unknown_loss_type(list(self.loss_type), LOSS_TYPES)
            return
        yield from self._weight_problems()
        variants = list(self._variant_problems())
        yield from variants
        if not variants:
            yield from self._option_problems()

    def _weight_problems(self) -> Iterator[str]:
        twice = {name for name in self.loss_type if self.loss_type.count(name) > 1}
        if twice:
            yield f"loss_type = {list(self.loss_type)}: {min(twice)} is listed twice. Name it once, with a weight."
        weights = self.loss_weights
        if weights is None:
            return
        if len(weights) != len(self.loss_type):
            yield f"loss_weights = {list(weights)}: needs one weight for each of the {len(self.loss_type)} loss types."
        if not all(0 < weight < float("inf") for weight in weights):
            yield f"loss_weights = {list(weights)}: each must be a finite number > 0. Leave out losses with weight 0."

    def _variant_problems(self) -> Iterator[str]:
        variants = self._variants()
        if len(variants) > 1:
            yield f"{' and '.join(variants)}: no method combines them. Set one."
        for name in variants:
            allowed = _BESIDE[name]
            if "sigmoid" not in self.loss_type or not set(self.loss_type) <= set(allowed):
                beside = f", alone or with {allowed[1]}" if allowed[1:] else " alone"
                yield (
                    f"{name} = {getattr(self, name)!r}: works with loss_type sigmoid{beside}, not with "
                    f"{', '.join(self.loss_type)}. Leave it at its default, or use sigmoid."
                )
        yield from self._divergence_problems()

    def _divergence_problems(self) -> Iterator[str]:
        kind, coefficient = self.f_divergence_type, self.f_alpha_divergence_coef
        if kind not in _DIVERGENCES:
            yield f"f_divergence_type = {kind!r}: must be {' or '.join(_DIVERGENCES)}."
        elif kind != "alpha_divergence" and coefficient != _COEFFICIENT:
            yield f"f_alpha_divergence_coef = {coefficient}: unused without f_divergence_type = 'alpha_divergence'."
        elif not 0 < coefficient < 1:
            yield (
                f"f_alpha_divergence_coef = {coefficient}: must be in (0, 1). At 1 it is f_divergence_type = "
                "'reverse_kl', at 0 'forward_kl': set that."
            )

    def _option_problems(self) -> Iterator[str]:
        parts = list(map(self._part, self.loss_type))
        read = {source for part in parts for source in part.fields.values()}
        for name, default in _DEFAULTS.items():
            if name not in read and getattr(self, name) != default:
                yield f"{name} = {getattr(self, name)}: {', '.join(self.loss_type)} does not use it. Leave it out."
        found = [problem for part in parts for problem in self._range_problems(part)]
        yield from dict.fromkeys(found)

    def _range_problems(self, part: LossType) -> Iterator[str]:
        """Problems of a loss's options, by the names of the fields of `DPOConfig`."""
        try:
            Method.named(part.loss, self._options(part))
        except ConfigError as error:
            yield from renamed(error.problems, part.fields)


_ATTRIBUTES = (
    "beta", "label_smoothing", "ld_alpha", "f_divergence_type", "f_alpha_divergence_coef", "use_weighting",
)  # fmt: skip


@dataclass
class DPOConfig(ReferencedConfig):
    """Settings of DPO and its family: `ReferencedConfig` plus the loss fields of TRL 1.16, with its defaults.

    Args:
        loss_type: One loss, or a list of losses to train on their weighted sum: `sigmoid`, `hinge`, `ipo`,
            `exo_pair`, `nca_pair`, `robust`, `bco_pair`, `sppo_hard`, `aot`, `aot_unpaired`, `apo_zero`, `apo_down`,
            `discopop`, `sft`, `sigmoid_norm`.
        loss_weights: A weight > 0 for each loss; default: 1.
        beta: Reward per nat of logratio, > 0. Higher keeps the policy closer to the reference. For `ipo` it is tau.
        label_smoothing: Probability that a label is flipped, in [0, 0.5), for `sigmoid`, `robust`, `exo_pair`, `aot`
            and `aot_unpaired`.
        ld_alpha: Weight of the tokens beyond the length of the shorter answer, in [0, 1], for `sigmoid` (LD-DPO).
        f_divergence_type: `reverse_kl`, `forward_kl`, `js_divergence` or `alpha_divergence`, for `sigmoid` (f-DPO).
        f_alpha_divergence_coef: For `alpha_divergence`, in (0, 1). The limit at 1 is `reverse_kl`, at 0 `forward_kl`.
        use_weighting: Weight each pair by its probability under the policy, for `sigmoid` (WPO).
        discopop_tau: Temperature of `discopop`, in (0, 1].
    Raises:
        ConfigError: invalid values and unsupported fields, all at once.
    Differs: `label_smoothing` works for `sigmoid`, as in cDPO (Mitchell 2023) and TRL before 1.0; TRL 1.16 does not
        use it there. `docs/compatible-api.md` describes each loss type.

    >>> config = DPOConfig(output_dir="run", beta=0.5, loss_type="sigmoid", use_cpu=True)
    >>> config.method.options["beta"], config.learning_rate, config.bf16
    (0.5, 1e-06, False)
    """

    loss_type: list[str] = field(
        default_factory=lambda: ["sigmoid"],
        metadata={"help": "One loss or several: sigmoid (DPO), hinge, ipo, exo_pair, ..., as docs/compatible-api.md."},
    )
    loss_weights: list[float] | None = field(
        default=None, metadata={"help": "Weight of each loss, > 0. Default: 1 for each."}
    )
    ld_alpha: float | None = field(
        default=None, metadata={"help": "Weight of tokens beyond the shorter answer's length, in [0, 1] (LD-DPO)."}
    )
    f_divergence_type: str = field(
        default="reverse_kl",
        metadata={"help": "reverse_kl, forward_kl, js_divergence or alpha_divergence to the reference (f-DPO)."},
    )
    f_alpha_divergence_coef: float = field(
        default=0.5, metadata={"help": "Coefficient of alpha_divergence, in (0, 1); the limit at 1 is reverse_kl."}
    )
    label_smoothing: float = field(default=0.0, metadata={"help": "Probability that a label is flipped, in [0, 0.5)."})
    beta: float = field(
        default=0.1, metadata={"help": "Reward per nat of logratio. Higher keeps the policy closer to the reference."}
    )
    use_weighting: bool = field(
        default=False, metadata={"help": "Weight pairs by their probability under the policy (WPO)."}
    )
    discopop_tau: float = field(default=0.05, metadata={"help": "Temperature of the loss discopop, in (0, 1]."})

    @property
    @override
    def method(self) -> Method:
        return WantedLosses(**{item.name: getattr(self, item.name) for item in fields(WantedLosses)}).method

    @override
    def attributes(self) -> dict[str, Any]:
        return {
            **super().attributes(),
            **{name: getattr(self, name) for name in _ATTRIBUTES},
            "loss_types": self.loss_type,
            "loss_weights": self.loss_weights or [1.0] * len(self.loss_type),
        }

    @override
    def _normalise(self) -> None:
        given: Sequence[str] | str = self.loss_type
        self.loss_type = [given] if isinstance(given, str) else list(given)


class DPOTrainer(TuningTrainer):
    """Direct Preference Optimization and its family, from pairs. Arguments: see `TuningTrainer`.

    `args` is a `DPOConfig`. Rows have `prompt`, `chosen` and `rejected`, as text or messages; or `chosen` and
    `rejected` with the prompt in both.
    """

    config_class = DPOConfig
    _tag_names: ClassVar[list[str]] = ["preftune", "dpo"]
