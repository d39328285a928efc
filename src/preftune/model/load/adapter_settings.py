"""Settings of the adapter of a run: defaults of a new one, or those of the adapter that is trained further."""

from collections.abc import Iterator
from dataclasses import replace

from peft import LoraConfig, PeftConfig

from preftune.errors import ConfigError
from preftune.model.load.pretrained import adapter_config
from preftune.settings import AdapterSettings, TrainConfig

ALL_LINEAR = ["all-linear"]


def with_adapter_settings(config: TrainConfig) -> TrainConfig:
    """The config with the rank, scale and modules of the adapter that the run trains.

    Raises:
        ConfigError: `lora` continues an adapter, and a setting contradicts it; all at once.
        ModelError: there is a config of an adapter that cannot be read.
    """
    settings = config.adapter
    earlier = adapter_config(config.model.model, config.model.revision) if settings.lora else None
    if earlier is None:
        return replace(config, adapter=replace(settings, lora_rank=settings.rank, lora_alpha=settings.alpha))
    problems = list(_contradictions(settings, earlier, config.model.model))
    if problems:
        raise ConfigError(problems)
    if not isinstance(earlier, LoraConfig):
        return config
    targets = _targets(earlier)
    return replace(
        config,
        adapter=replace(
            settings, lora_rank=earlier.r, lora_alpha=earlier.lora_alpha, lora_targets=targets or settings.lora_targets
        ),
    )


def _contradictions(settings: AdapterSettings, earlier: PeftConfig, name: str) -> Iterator[str]:
    """Messages about settings that are not those of the adapter. A dropout of 0 turns off that of the adapter."""
    given = {
        "lora_rank": settings.lora_rank,
        "lora_alpha": settings.lora_alpha,
        "lora_dropout": settings.lora_dropout or None,
        "lora_targets": None if settings.lora_targets == ALL_LINEAR else sorted(settings.lora_targets),
    }
    own = (
        {
            "lora_rank": earlier.r,
            "lora_alpha": earlier.lora_alpha,
            "lora_dropout": earlier.lora_dropout,
            "lora_targets": _targets(earlier),
        }
        if isinstance(earlier, LoraConfig)
        else {}
    )
    for setting, value in given.items():
        if value is None or value == own.get(setting):
            continue
        has = f"has {own[setting]}" if own else f"is of type {earlier.peft_type}, without this setting"
        yield (
            f"{setting} = {value}: the run trains the adapter {name} further, which {has}. Leave it out, or merge the "
            f"adapter first (preftune merge --model {name} --output ...) and train a new one on the result."
        )


def _targets(adapter: LoraConfig) -> list[str]:
    """The modules of an adapter, or the expression that they match."""
    targets = adapter.target_modules or []
    return [targets] if isinstance(targets, str) else sorted(targets)
