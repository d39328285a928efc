"""Models, tokenizers and rows as users of TRL hand them over, in the form that the trainer takes."""

import copy
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from datasets import IterableDataset
from peft import LoraConfig, PeftConfig, PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from preftune.compat.tuning_config import TuningConfig
from preftune.data import groups_from_rows
from preftune.data.tables import rows_of_table
from preftune.data.tokens.pipeline import TokenPipeline
from preftune.data.tokens.token_group import TokenGroup
from preftune.errors import ConfigError, DataError, ModelError, TokenizerError
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
from preftune.runs.prepare_data import PartReport, data_warnings
from preftune.settings import ModelSettings
from preftune.settings.chat import RAW
from preftune.settings.config import expanded

__all__ = [
    "Model",
    "Rows",
    "given_policy",
    "given_tokenizer",
    "load_model",
    "model_name",
    "read_rows",
]

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


def given_policy(model: Model, ref_model: Model | None, peft_config: PeftConfig | None, config: TuningConfig) -> Policy:
    """The policy and, if the method needs one, its reference.

    The reference is `ref_model` if given. Otherwise it is a frozen copy of a plain model, the model without a new
    adapter, or a frozen copy of an existing adapter. A new adapter whose reference moves is copied, too.

    Args:
        model: Changed in place: dropout, adapters.
        ref_model: Another model with the same tokenizer. Put into evaluation mode.
        peft_config: Config of a new adapter.
    Raises:
        ConfigError: models and adapter that cannot be combined.
        ModelError: nothing in the model is trainable.
    """
    _check_goes_together(model, ref_model, peft_config, config)
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


def _check_goes_together(
    model: Model, ref_model: Model | None, peft_config: PeftConfig | None, config: TuningConfig
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


Rows = Iterable[Mapping[str, Any]]
"""A list of dicts, a `datasets.Dataset`, a pandas frame, or the like."""

_logger = logging.getLogger(__name__)


def read_rows(
    rows: Rows, name: str, tokenizer: PreTrainedTokenizerBase, config: TuningConfig
) -> tuple[list[TokenGroup], PartReport]:
    """The token groups of a data set and a report of what was cut or dropped, which is logged as well.

    Args:
        rows: For methods that learn from pairs, `prompt`, `chosen` and `rejected`, as text or messages; or `chosen`
            and `rejected` with the prompt in both. From thumbs: these, or `prompt`, `completion` and `label`. From
            demonstrations: `prompt` and `completion`, or `messages`. Rows of messages may have `tools` and
            `chat_template_kwargs`, which the chat template gets.
        name: Name of the data set in errors.
    Raises:
        DataError: unusable rows, or none.
        TokenizerError: the tokenizer cannot handle them.
        ConfigError: settings that do not fit the rows.
    """
    _check_kind(rows, name)
    show = not config.disable_tqdm and config.process_index == 0
    first, readable = _peeked(iter(rows_of_table(rows, name)))
    method = config.method
    layout = "demonstrations" if method.feedback == "demonstrations" else None
    loaded = groups_from_rows(readable, source=name, format=layout, show_progress=show)
    pipeline = TokenPipeline(
        tokenizer=tokenizer,
        chat=RAW,  # as in TRL, the chat template is for rows of messages alone
        max_length=config.max_length,
        too_long="keep_start",
        learns_prompts=config.learns_prompts(first),
        num_processes=config.dataset_num_proc or 1,
        show_progress=show,
    )
    part = pipeline.for_method(loaded.groups, method)
    report = PartReport.of(loaded, part)
    report = replace(report, warnings=tuple(data_warnings(method, report)))
    _log(report, name)
    return part.tokenized.groups, report


def _check_kind(rows: Rows, name: str) -> None:
    if isinstance(rows, Mapping):
        raise DataError(f"{name}: holds several data sets ({', '.join(map(str, rows))}). Give one of them.")
    if isinstance(rows, IterableDataset):
        raise DataError(
            f"{name}: is a stream, but steps are planned from the lengths of all rows. Give a Dataset, or a list of "
            "rows."
        )


def _peeked(rows: Iterator[Mapping[str, Any]]) -> tuple[Mapping[str, Any], Iterator[Mapping[str, Any]]]:
    """The first row (empty if there is none) and an iterator over all rows."""
    first = next(rows, None)
    return ({}, rows) if first is None else (first, chain([first], rows))


def _log(report: PartReport, name: str) -> None:
    is_worth_a_warning = (
        report.dropped or report.completions_cut or report.warnings or report.notes or report.hides_anything
    )
    for line in report.lines(name):
        _logger.log(logging.WARNING if is_worth_a_warning else logging.INFO, line)
