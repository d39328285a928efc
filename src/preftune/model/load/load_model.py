"""Loading of tokenizer, policy and reference from hub ids and folders."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import nn
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BitsAndBytesConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from preftune.errors import ModelError, TokenizerError, first_line
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.load.adapter_settings import ALL_LINEAR
from preftune.model.load.merging import merge_adapter
from preftune.model.load.places import check_place, lasting_name, loading, not_loadable
from preftune.model.load.pretrained import TRAINED, base_of, load_pretrained, loading_base
from preftune.model.load.reward_model import load_reward_model
from preftune.model.reference.reference import AdapterOff, FrozenCopy, KeptAdapter, NoReference, Reference
from preftune.settings import ModelSettings, TrainConfig

Model = TypeVar("Model", bound=nn.Module)

_KEPT = "reference"


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
        ModelError: there is no such folder, or its files were never fetched.
        TokenizerError: there is no tokenizer in it, or the chat template cannot be read.
    """
    check_place(settings.model)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(settings.model, **_hub_options(settings))
    except Exception as error:  # files of any kind are read, and code of any tokenizer may run
        if not Path(settings.model).exists():
            raise not_loadable(settings.model, error, what="tokenizer") from error
        raise TokenizerError(
            f"model = {settings.model}: no tokenizer could be loaded from it ({first_line(error)}). Put the tokenizer "
            "files of the model (tokenizer.json, tokenizer_config.json) into the folder."
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
    """The model's config; for an adapter, that of its base.

    Raises:
        ModelError: it cannot be loaded.
    """
    base = base_of(settings.model, settings.revision)
    name, revision = base or (settings.model, settings.revision)
    with loading(name) if base is None else loading_base(settings.model, name):
        config: PretrainedConfig = AutoConfig.from_pretrained(
            name, revision=revision, trust_remote_code=settings.trust_remote_code
        )
    return config


def load_causal_lm(settings: ModelSettings, name: str | None = None) -> PreTrainedModel | PeftModel:
    """The causal LM called `name` (default: that of the settings), with its adapter if `name` is one.

    Args:
        name: The reference model of a run.
    Raises:
        ModelError: it cannot be loaded.
    """
    setting = "model" if name in (None, settings.model) else "reference_model"
    return load_pretrained(name or settings.model, _arguments(settings), revision=settings.revision, setting=setting)


def _arguments(settings: ModelSettings) -> dict[str, Any]:
    """Arguments of `from_pretrained`."""
    return {
        "dtype": "auto" if settings.weights_dtype == "auto" else getattr(torch, settings.weights_dtype),
        "attn_implementation": settings.attention,
        "trust_remote_code": settings.trust_remote_code,
        **_quantization(settings),
    }


def _quantization(settings: ModelSettings) -> dict[str, Any]:
    """Arguments of `from_pretrained` that put the weights of linear layers in 4 bits, if the settings say so.

    Weights are dequantized to the data type of computations in each forward pass.

    Raises:
        ModelError: there is no GPU.
    """
    if not settings.load_in_4bit:
        return {}
    arithmetic = Arithmetic.of(settings)
    if arithmetic.device.type == "cpu":
        raise ModelError(
            "load_in_4bit: there is no GPU, and on many CPUs the 4-bit layers of bitsandbytes fail, or pass no "
            "gradients. Leave it out, or use a machine with a GPU."
        )
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=arithmetic.autocast or torch.float32,
    )
    return {"quantization_config": four_bits, "device_map": {"": PartialState().device}}


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

    The policy is trained in full or by an adapter; a method of rewards trains a reward model. The reference is a frozen
    copy, the model with its adapter off, a kept copy of the adapter, or another model.

    Raises:
        ModelError: a model cannot be loaded, or does not support the adapter.
    """
    if config.method.needs("rewards"):
        model = load_reward_model(config.model.model, _arguments(config.model), revision=config.model.revision)
    else:
        model = load_causal_lm(config.model)
    needs_reference = config.method.needs_reference
    if not config.adapter.lora:
        policy = _full(model, needs_reference=needs_reference)
    elif isinstance(model, PeftModel):
        policy = _continued_adapter(model, config.model, needs_reference=needs_reference)
    else:
        policy = _new_adapter(model, config, needs_reference=needs_reference)
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


def has_dropout(model: nn.Module) -> bool:
    """True if the forward of a model in training mode is random."""
    return any(
        (isinstance(module, nn.Dropout) and module.p > 0)
        or any("dropout" in name and isinstance(value, float) and value > 0 for name, value in vars(module).items())
        for module in model.modules()
    )


def _full(model: PreTrainedModel | PeftModel, *, needs_reference: bool) -> Policy:
    plain = merge_adapter(model) if isinstance(model, PeftModel) else model
    plain.requires_grad_(True)
    if not needs_reference:
        return Policy(plain, NoReference(), starts_at_reference=False)
    return Policy(plain, FrozenCopy(frozen(copy.deepcopy(plain))), starts_at_reference=True)


def _new_adapter(model: PreTrainedModel, config: TrainConfig, *, needs_reference: bool) -> Policy:
    settings = config.adapter
    targets = settings.lora_targets
    lora = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=targets[0] if targets == ALL_LINEAR else targets,
        task_type="SEQ_CLS" if config.method.needs("rewards") else "CAUSAL_LM",
        revision=config.model.revision,
    )
    try:
        adapted = add_adapter(model, lora)
    except ValueError as error:
        raise ModelError(f"lora_targets = {targets}: the adapter cannot be made. {error}") from error
    reference: Reference = AdapterOff() if needs_reference else NoReference()
    return Policy(adapted, reference, starts_at_reference=needs_reference, begins_as_base=True)


def add_adapter(model: PreTrainedModel, config: PeftConfig) -> PeftModel:
    """The model with a new adapter, whose config names the model so that it is found from every folder."""
    adapted = get_peft_model(model, config, adapter_name=TRAINED)
    name = adapted.peft_config[TRAINED].base_model_name_or_path
    adapted.peft_config[TRAINED].base_model_name_or_path = name and lasting_name(str(name))
    return adapted


def trains_biases(model: PreTrainedModel | PeftModel) -> bool:
    """True if the active adapter changes biases of the base model, so that turning it off does not restore it."""
    return isinstance(model, PeftModel) and getattr(model.peft_config[model.active_adapter], "bias", "none") != "none"


def _continued_adapter(model: PeftModel, settings: ModelSettings, *, needs_reference: bool) -> Policy:
    """Continue training the adapter. The reference is a copy of it as loaded; of the whole model if it has biases."""
    if not needs_reference:
        return Policy(model, NoReference(), starts_at_reference=False)
    if trains_biases(model):
        return Policy(model, FrozenCopy(frozen(copy.deepcopy(model))), starts_at_reference=True)
    model.load_adapter(settings.model, adapter_name=_KEPT, is_trainable=False)
    model.set_adapter(TRAINED)
    return Policy(model, KeptAdapter(trained=TRAINED, kept=_KEPT), starts_at_reference=True)


def _hub_options(settings: ModelSettings) -> dict[str, Any]:
    return {"revision": settings.revision, "trust_remote_code": settings.trust_remote_code}
