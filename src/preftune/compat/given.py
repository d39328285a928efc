"""Models, tokenizers and rows as users of TRL hand them over, in the form that the trainer takes."""

import copy
from typing import Any

from peft import LoraConfig, PeftConfig, PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from preftune.compat.tuning_config import TuningConfig
from preftune.errors import ConfigError, ModelError, TokenizerError
from preftune.model.load.load_model import (
    Policy,
    add_adapter,
    frozen,
    keep_adapter,
    load_tokenizer,
    trains_biases,
    turn_dropout_off,
)
from preftune.model.load.pretrained import load_pretrained
from preftune.model.reference.reference import AdapterOff, FrozenCopy, NoReference
from preftune.settings import ModelSettings
from preftune.settings.config import expanded

Model = PreTrainedModel | PeftModel


def model_name(model: str | Model) -> str:
    """The id or path that a model was loaded from; empty for a model built from a config."""
    return model if isinstance(model, str) else str(model.config.name_or_path)


def load_model(name: str, config: TuningConfig, **further: Any) -> Model:
    """The causal LM of a hub id or folder. A folder with an adapter gives the model with the adapter, trainable.

    Args:
        name: Hub id or local folder.
        config: Provides `model_init_kwargs` and `trust_remote_code`.
        further: More arguments of `from_pretrained`.
    Raises:
        ModelError: it cannot be loaded.
    """
    given = config.model_init_kwargs or {}
    assert isinstance(given, dict), "transformers reads JSON text into a dict"
    arguments: dict[str, Any] = {"dtype": "float32", "trust_remote_code": config.trust_remote_code, **given, **further}
    revision = arguments.pop("revision", None)
    return load_pretrained(str(expanded(name)), arguments, revision=revision)


def given_tokenizer(processing_class: Any, model: str | Model, config: TuningConfig) -> PreTrainedTokenizerBase:
    """The given tokenizer, or the one of the model's id or path.

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
            "processing_class: is not given, and the model was not loaded from an id or path, so there is nowhere to "
            "load a tokenizer from. Give the tokenizer as processing_class."
        )
    given = config.model_init_kwargs or {}
    revision = given.get("revision") if isinstance(given, dict) else None
    name = str(expanded(name))
    return load_tokenizer(ModelSettings(model=name, revision=revision, trust_remote_code=config.trust_remote_code))


def set_padding(tokenizer: PreTrainedTokenizerBase, model: Model) -> None:
    """Pad with the end-of-sequence token where the tokenizer has no padding token, and tell the model's configs."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    if model.generation_config is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id


def given_policy(
    model: Model, ref_model: str | Model | None, peft_config: PeftConfig | None, config: TuningConfig
) -> Policy:
    """The policy and, if the method needs one, its reference.

    The reference is `ref_model` if given. Otherwise it is a frozen copy of a plain model, the model without a new
    adapter, or a frozen copy of an existing adapter. A new adapter whose reference moves is copied, too.

    Args:
        model: Changed in place: dropout, adapters.
        ref_model: Another model with the same tokenizer, or its hub id or folder. Put into evaluation mode.
        peft_config: Config of a new adapter.
    Raises:
        ConfigError: models and adapter that cannot be combined.
        ModelError: a model without a language-model head, or nothing in the model is trainable.
    """
    _check_goes_together(model, ref_model, peft_config, config)
    if isinstance(ref_model, str):
        ref_model = load_model(ref_model, config)
    for name, given in {"model": model, "ref_model": ref_model}.items():
        if given is not None:
            _check_is_language_model(name, given)
    _check_experts(model, config)
    policy = _plan(model, ref_model, peft_config, config)
    if config.disable_dropout:
        turn_dropout_off(policy.model)
    if not any(parameter.requires_grad for parameter in policy.model.parameters()):
        raise ModelError(
            "model: no parameter of it is trainable, so there is nothing to learn. Load adapters with "
            "is_trainable=True, or set requires_grad on the parameters to train."
        )
    return policy


def _plan(model: Model, ref_model: Model | None, peft_config: PeftConfig | None, config: TuningConfig) -> Policy:
    """The policy, with its new adapter if there is one, and its reference."""
    plain = model
    if peft_config is not None:
        # peft trains the biases of the model itself, so turning the adapter off does not give the reference.
        plain = copy.deepcopy(model) if getattr(peft_config, "bias", "none") != "none" else model
        model = add_adapter(_plain(model), peft_config)
    if not config.method.needs_reference:
        return Policy(model, NoReference(), starts_at_reference=False)
    if ref_model is not None:
        ref_model.eval()
        return Policy(model, FrozenCopy(ref_model), starts_at_reference=False)
    if peft_config is not None and not config.reference_plan.moves:
        starts_at_reference = _starts_at_zero(model)
        if trains_biases(model):
            return Policy(model, FrozenCopy(frozen(plain)), starts_at_reference=starts_at_reference)
        return Policy(model, AdapterOff(), starts_at_reference=starts_at_reference)
    if isinstance(model, PeftModel) and not trains_biases(model):
        return Policy(model, keep_adapter(model), starts_at_reference=True)
    return Policy(model, FrozenCopy(frozen(copy.deepcopy(model))), starts_at_reference=True)


def _check_is_language_model(name: str, model: Model) -> None:
    plain: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    if plain.get_output_embeddings() is None:
        raise ModelError(
            f"{name}: is a {type(plain).__name__}, which has no head that predicts tokens, and log-probs of tokens are "
            "what is trained. Load it with AutoModelForCausalLM."
        )


def _check_goes_together(
    model: Model, ref_model: str | Model | None, peft_config: PeftConfig | None, config: TuningConfig
) -> None:
    problems = []
    if ref_model is not None and not config.method.needs_reference:
        problems.append(f"ref_model: the method {config.method.name} has no reference. Leave it out.")
    if ref_model is model:
        problems.append(
            "ref_model: is the model itself, so both would be trained. Leave it out: a frozen copy is made."
        )
    if peft_config is not None and isinstance(model, PeftModel):
        problems.append(
            "peft_config: the model has an adapter already. Leave it out to continue training that one, or merge it "
            "first with model.merge_and_unload()."
        )
    configs = [peft_config] if peft_config is not None else []
    configs += [model.peft_config[model.active_adapter]] if isinstance(model, PeftModel) else []
    if any(item.is_prompt_learning for item in configs):
        problems.append("peft_config: prompt learning is not supported. Use an adapter such as LoraConfig.")
    if problems:
        raise ConfigError(problems)


def _check_experts(model: Model, config: TuningConfig) -> None:
    """Refuse a mixture of experts whose balancing loss TRL would add and we would silently drop."""
    settings = model.config.get_text_config().to_dict()
    coefficient = settings.get("router_aux_loss_coef")
    if "output_router_logits" in settings and coefficient and config.router_aux_loss_coef is None:
        raise ConfigError(
            [
                f"router_aux_loss_coef: the model's config says {coefficient}, but the loss that balances experts is "
                "not supported. Set router_aux_loss_coef=0.0 to train without it."
            ]
        )


def _plain(model: Model) -> PreTrainedModel:
    assert isinstance(model, PreTrainedModel), "checked before"
    return model


def _starts_at_zero(model: Model) -> bool:
    """True if a new adapter starts as a no-op."""
    assert isinstance(model, PeftModel), "an adapter was just added"
    adapter = model.peft_config[model.active_adapter]
    return isinstance(adapter, LoraConfig) and adapter.init_lora_weights is not False
