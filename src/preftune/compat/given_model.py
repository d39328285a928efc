"""Policy, reference and tokenizer out of the models that a user hands over."""

import copy
from typing import Any

from peft import (
    AutoPeftModelForCausalLM,
    LoraConfig,
    PeftConfig,
    PeftModel,
    get_peft_model,
)
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.peft_utils import find_adapter_config_file

from preftune.compat.tuning_config import TuningConfig
from preftune.errors import ConfigError, ModelError, TokenizerError
from preftune.model.load.load_model import Policy, keep_adapter, load_tokenizer, turn_dropout_off
from preftune.model.reference.reference import AdapterOff, FrozenCopy, NoReference
from preftune.settings import ModelSettings

__all__ = ["Model", "given_policy", "given_tokenizer", "load_model", "model_name"]

Model = PreTrainedModel | PeftModel


def model_name(model: str | Model) -> str:
    """The id or path that a model came from, or an empty text for one that was made on the spot."""
    return model if isinstance(model, str) else str(model.config.name_or_path)


def load_model(name: str, config: TuningConfig, **further: Any) -> Model:
    """The causal LM of an id or path, with its adapter where the folder is one, which is then trained on.

    Args:
        name: Hub id or local folder.
        config: `model_init_kwargs` and `trust_remote_code`.
        further: More arguments of `from_pretrained`.
    Raises:
        ModelError: it cannot be loaded.
    """
    given = config.model_init_kwargs or {}
    assert isinstance(given, dict), "transformers reads JSON text into a dict"
    arguments: dict[str, Any] = {"dtype": "float32", "trust_remote_code": config.trust_remote_code, **given, **further}
    try:
        if find_adapter_config_file(name, revision=arguments.get("revision")):
            adapted: PeftModel = AutoPeftModelForCausalLM.from_pretrained(name, is_trainable=True, **arguments)
            return adapted
        whole: PreTrainedModel = AutoModelForCausalLM.from_pretrained(name, **arguments)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(
            f"model = {name}: no causal language model could be loaded from it. {error} Give a folder with "
            "config.json and weights, or a hub id of a model that transformers can load."
        ) from error
    return whole


def given_tokenizer(processing_class: Any, model: str | Model, config: TuningConfig) -> PreTrainedTokenizerBase:
    """The tokenizer that was handed over, or that of the model's id or path.

    Raises:
        TokenizerError: there is none, or it is a processor of images or sound.
    """
    if isinstance(processing_class, PreTrainedTokenizerBase):
        return processing_class
    if processing_class is not None:
        raise TokenizerError(
            f"processing_class: is a {type(processing_class).__name__}, not a tokenizer. Only text is supported. Give "
            "the tokenizer of the model."
        )
    name = model_name(model)
    if not name:
        raise TokenizerError(
            "processing_class: is not given, and the model was not loaded from an id or path that a tokenizer could "
            "be loaded from. Give the tokenizer as processing_class."
        )
    given = config.model_init_kwargs or {}
    revision = given.get("revision") if isinstance(given, dict) else None
    return load_tokenizer(ModelSettings(model=name, revision=revision, trust_remote_code=config.trust_remote_code))


def given_policy(model: Model, ref_model: Model | None, peft_config: PeftConfig | None, config: TuningConfig) -> Policy:
    """What is trained, and what it is compared with, if the method compares it with anything.

    A plain model is compared with a copy of itself, a new adapter with the model without it, an adapter that is
    there already with a copy of itself; and any of them with `ref_model` where there is one. A new adapter whose
    reference is to move is compared with a copy of itself.

    Args:
        model: Changed in place: dropout, adapters.
        ref_model: Another model with the same tokenizer. Put into evaluation mode.
        peft_config: For a new adapter.
        config: The method, whether the reference moves, and whether to turn dropout off.
    Raises:
        ConfigError: models and adapter that do not go together.
        ModelError: nothing in the model is trainable.
    """
    _check_goes_together(model, ref_model, peft_config, config)
    _check_experts(model, config)
    if peft_config is not None:
        model = get_peft_model(_plain(model), peft_config)
    policy = _with_reference(model, ref_model, config, is_new_adapter=peft_config is not None)
    if config.disable_dropout:
        turn_dropout_off(policy.model)
    if not any(parameter.requires_grad for parameter in policy.model.parameters()):
        raise ModelError(
            "model: no parameter of it is trainable, so there is nothing to learn. Load adapters with "
            "is_trainable=True, or set requires_grad of what is to be trained."
        )
    return policy


def _with_reference(model: Model, ref_model: Model | None, config: TuningConfig, *, is_new_adapter: bool) -> Policy:
    if not config.method.needs_reference:
        return Policy(model, NoReference(), starts_at_reference=False)
    if ref_model is not None:
        ref_model.eval()
        return Policy(model, FrozenCopy(ref_model), starts_at_reference=False)
    if is_new_adapter and not config.reference_plan.moves:
        return Policy(model, AdapterOff(), starts_at_reference=_starts_at_zero(model))
    if isinstance(model, PeftModel):
        return Policy(model, keep_adapter(model), starts_at_reference=True)
    frozen = copy.deepcopy(model)
    frozen.eval()
    nn.Module.requires_grad_(frozen, False)
    return Policy(model, FrozenCopy(frozen), starts_at_reference=True)


def _check_goes_together(
    model: Model, ref_model: Model | None, peft_config: PeftConfig | None, config: TuningConfig
) -> None:
    problems = []
    if ref_model is not None and not config.method.needs_reference:
        problems.append(f"ref_model: the method {config.method.name} has no reference. Leave it out.")
    if ref_model is model:
        problems.append(
            "ref_model: is the model itself, so that both would be trained. Leave it out, and a copy is made."
        )
    if peft_config is not None and isinstance(model, PeftModel):
        problems.append(
            "peft_config: the model has an adapter already. Leave it out to train that one on, or merge it first "
            "with model.merge_and_unload()."
        )
    configs = [peft_config] if peft_config is not None else []
    configs += [model.peft_config[model.active_adapter]] if isinstance(model, PeftModel) else []
    if any(item.is_prompt_learning for item in configs):
        problems.append("peft_config: prompt learning is not supported. Use an adapter such as LoraConfig.")
    if problems:
        raise ConfigError(problems)


def _check_experts(model: Model, config: TuningConfig) -> None:
    """A mixture of experts brings a loss that TRL adds unless told not to."""
    settings = model.config.get_text_config().to_dict()
    coefficient = settings.get("router_aux_loss_coef")
    if "output_router_logits" in settings and coefficient and config.router_aux_loss_coef is None:
        raise ConfigError(
            [
                f"router_aux_loss_coef: the model's config says {coefficient}, and the loss that balances experts is "
                "not supported. Set router_aux_loss_coef=0.0 to train without it."
            ]
        )


def _plain(model: Model) -> PreTrainedModel:
    assert isinstance(model, PreTrainedModel), "checked before"
    return model


def _starts_at_zero(model: Model) -> bool:
    """Whether a new adapter changes nothing yet."""
    assert isinstance(model, PeftModel), "an adapter was just added"
    adapter = model.peft_config[model.active_adapter]
    return isinstance(adapter, LoraConfig) and adapter.init_lora_weights is not False
