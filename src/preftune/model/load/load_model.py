"""Loading of tokenizer, policy and reference from hub ids and folders."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.peft_utils import find_adapter_config_file

from preftune.errors import ModelError, TokenizerError, first_line
from preftune.model.reference.reference import AdapterOff, FrozenCopy, KeptAdapter, NoReference, Reference
from preftune.settings import AdapterSettings, ModelSettings, TrainConfig

__all__ = [
    "Policy",
    "frozen",
    "keep_adapter",
    "load_causal_lm",
    "load_config",
    "load_frozen",
    "load_other_tokenizer",
    "load_policy",
    "load_tokenizer",
    "turn_dropout_off",
]

Model = TypeVar("Model", bound=nn.Module)

_TRAINED, _KEPT = "default", "reference"


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """The model in training and its reference.

    Args:
        starts_at_reference: Policy and reference are equal before the first step.
        begins_as_base: The adapter is new, so the model without it is the model before training.
    """

    model: PreTrainedModel | PeftModel
    reference: Reference
    starts_at_reference: bool
    begins_as_base: bool = False


def load_tokenizer(settings: ModelSettings) -> PreTrainedTokenizerBase:
    """The model's tokenizer, with the chat template of the settings if they name one.

    Raises:
        TokenizerError: there is none, or the chat template cannot be read.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(settings.model, **_hub_options(settings))
    except (OSError, ValueError, KeyError) as error:
        raise TokenizerError(
            f"model = {settings.model}: no tokenizer could be loaded from it ({first_line(error)}). Put the tokenizer "
            "files of the model (tokenizer.json, tokenizer_config.json) into the folder, or check the hub id."
        ) from error
    if settings.chat_template is not None:
        try:
            tokenizer.chat_template = Path(settings.chat_template).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise TokenizerError(
                f"chat_template = {settings.chat_template}: cannot be read. {error} Give the path of a Jinja file."
            ) from None
    return tokenizer


def load_other_tokenizer(settings: ModelSettings, first: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer of a model that is compared with a first one, whose chat template it takes if it has none."""
    tokenizer = load_tokenizer(settings)
    if not tokenizer.chat_template:
        tokenizer.chat_template = first.chat_template
    return tokenizer


def load_config(settings: ModelSettings) -> PretrainedConfig:
    """The model's config; for an adapter, that of its base."""
    base = _adapter_base(settings)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(base or settings.model, **_hub_options(settings))
    except (OSError, ValueError, KeyError) as error:
        raise _not_loadable(settings.model, error) from error
    return config


def load_causal_lm(settings: ModelSettings, name: str | None = None) -> PreTrainedModel | PeftModel:
    """The causal LM called `name` (default: that of the settings), with its adapter if `name` is one."""
    name = name or settings.model
    base = _adapter_base(settings, name)
    dtype = "auto" if settings.weights_dtype == "auto" else getattr(torch, settings.weights_dtype)
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            base or name, dtype=dtype, attn_implementation=settings.attention, **_hub_options(settings)
        )
        return PeftModel.from_pretrained(model, name, adapter_name=_TRAINED, is_trainable=True) if base else model
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _not_loadable(name, error) from error


def load_frozen(settings: ModelSettings, device: torch.device, name: str | None = None) -> PreTrainedModel | PeftModel:
    """Like `load_causal_lm`, but on the device, in evaluation mode and without gradients."""
    model = frozen(load_causal_lm(settings, name))
    nn.Module.to(model, device)
    return model


def frozen(model: Model) -> Model:
    """The model itself, put into evaluation mode and with gradients off."""
    model.eval()
    nn.Module.requires_grad_(model, False)
    return model


def load_policy(config: TrainConfig) -> Policy:
    """Policy and reference of a run.

    The policy is trained in full or by an adapter. The reference is a frozen copy, the model with its adapter off, a
    kept copy of the adapter, or another model.

    Raises:
        ModelError: a model cannot be loaded, or does not support the adapter.
    """
    model = load_causal_lm(config.model)
    needs_reference = config.method.needs_reference
    if not config.adapter.lora:
        policy = _full(model, needs_reference=needs_reference)
    elif isinstance(model, PeftModel):
        policy = _continued_adapter(model, config.model, needs_reference=needs_reference)
    else:
        policy = _new_adapter(model, config.adapter, needs_reference=needs_reference)
        if config.model.moves_reference:
            policy = replace(policy, reference=keep_adapter(policy.model))
    if needs_reference and config.model.reference_model is not None:
        other = load_causal_lm(config.model, config.model.reference_model)
        policy = Policy(policy.model, FrozenCopy(frozen(other)), starts_at_reference=False)
    if not config.model.dropout:
        turn_dropout_off(policy.model, but_adapters=config.adapter.lora_dropout > 0)
    return policy


def keep_adapter(model: PreTrainedModel | PeftModel) -> KeptAdapter:
    """Add a copy of the active adapter as the reference, in place of an earlier copy."""
    assert isinstance(model, PeftModel), f"expected a model with adapters, got {type(model).__name__}"
    trained = model.active_adapter
    if _KEPT in model.peft_config and trained != _KEPT:
        model.delete_adapter(_KEPT)
    model.add_adapter(_KEPT, copy.deepcopy(model.peft_config[trained]))
    set_peft_model_state_dict(model, get_peft_model_state_dict(model, adapter_name=trained), adapter_name=_KEPT)
    model.set_adapter(trained)
    return KeptAdapter(trained=trained, kept=_KEPT)


def turn_dropout_off(model: nn.Module, *, but_adapters: bool = False) -> None:
    """Set every dropout probability to 0, of modules and of attention layers that store it as a float.

    Args:
        but_adapters: Keep dropout inside adapters.
    """
    for name, module in model.named_modules():
        if but_adapters and "lora_dropout" in name:
            continue
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for attribute, value in vars(module).items():
            if "dropout" in attribute and isinstance(value, float):
                setattr(module, attribute, 0.0)


def _full(model: PreTrainedModel | PeftModel, *, needs_reference: bool) -> Policy:
    plain = model.merge_and_unload() if isinstance(model, PeftModel) else model
    plain.requires_grad_(True)
    if not needs_reference:
        return Policy(plain, NoReference(), starts_at_reference=False)
    return Policy(plain, FrozenCopy(frozen(copy.deepcopy(plain))), starts_at_reference=True)


def _new_adapter(model: PreTrainedModel, settings: AdapterSettings, *, needs_reference: bool) -> Policy:
    targets = settings.lora_targets
    lora = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=targets[0] if targets == ["all-linear"] else targets,
        task_type="CAUSAL_LM",
    )
    try:
        adapted = get_peft_model(model, lora, adapter_name=_TRAINED)
    except ValueError as error:
        raise ModelError(f"lora_targets = {targets}: the adapter cannot be made. {error}") from error
    reference: Reference = AdapterOff() if needs_reference else NoReference()
    return Policy(adapted, reference, starts_at_reference=needs_reference, begins_as_base=True)


def _continued_adapter(model: PeftModel, settings: ModelSettings, *, needs_reference: bool) -> Policy:
    """Continue training the adapter. The reference is a copy of it as loaded."""
    if not needs_reference:
        return Policy(model, NoReference(), starts_at_reference=False)
    model.load_adapter(settings.model, adapter_name=_KEPT, is_trainable=False)
    model.set_adapter(_TRAINED)
    return Policy(model, KeptAdapter(trained=_TRAINED, kept=_KEPT), starts_at_reference=True)


def _adapter_base(settings: ModelSettings, name: str | None = None) -> str | None:
    """Name of the base model of an adapter; None if `name` is a full model."""
    name = name or settings.model
    try:
        found = find_adapter_config_file(name, revision=settings.revision)
    except (OSError, ValueError):
        return None
    return str(PeftConfig.from_pretrained(name).base_model_name_or_path) if found else None


def _hub_options(settings: ModelSettings) -> dict[str, Any]:
    return {"revision": settings.revision, "trust_remote_code": settings.trust_remote_code}


def _not_loadable(name: str, error: Exception) -> ModelError:
    return ModelError(
        f"model = {name}: no causal language model could be loaded from it ({first_line(error)}). "
        "Give a folder with config.json and weights, or a hub id of a model that transformers can load."
    )
