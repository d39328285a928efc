"""Causal LMs from folders and hub ids, with their adapters."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils.peft_utils import find_adapter_config_file

from preftune.errors import ModelError, first_line
from preftune.model.forward.model_size import num_embeddings
from preftune.model.load.places import lasting_name, loading

TRAINED = "default"
"""Name of the adapter that is trained, as peft has it."""


def adapter_config(name: str, revision: str | None = None) -> PeftConfig | None:
    """The config of the adapter in a folder or on the hub; None for a full model.

    Raises:
        ModelError: there is a config of an adapter that cannot be read.
    """
    try:
        found = find_adapter_config_file(name, revision=revision)
    except (OSError, ValueError):
        return None
    if found is None:
        return None
    with loading(name, what="adapter"):
        config: PeftConfig = PeftConfig.from_pretrained(name, revision=revision)
    if not config.base_model_name_or_path:
        raise ModelError(
            f"model = {name}: its adapter_config.json names no base model. Set base_model_name_or_path there to the "
            "folder or hub id of the model that the adapter was trained on."
        )
    return config


def base_of(name: str, revision: str | None = None) -> tuple[str, str | None] | None:
    """Name and revision of the base model of an adapter; None for a full model."""
    adapter = adapter_config(name, revision)
    if adapter is None:
        return None
    # The revision of a run is that of its base; its adapter is a local folder, which has none.
    return str(adapter.base_model_name_or_path), adapter.revision or (revision if Path(name).exists() else None)


@contextmanager
def loading_base(name: str, base: str, setting: str = "model") -> Iterator[None]:
    """Like `loading`, for the base model of an adapter: errors name both."""
    try:
        with loading(base, "base_model_name_or_path"):
            yield
    except ModelError as error:
        raise ModelError(
            f"{setting} = {name}: is an adapter whose base model cannot be loaded. In its adapter_config.json, {error}"
        ) from error


def load_pretrained(
    name: str, arguments: Mapping[str, Any], *, revision: str | None = None, setting: str = "model"
) -> PreTrainedModel | PeftModel:
    """The causal LM called `name`; a folder with an adapter gives its base model with the adapter, trainable.

    The config of the adapter then names its base by an absolute path if that is a local folder. A base with another
    number of embeddings than the adapter was trained with is resized if the tokenizer beside the adapter says to how
    many.

    Args:
        name: Local folder or hub id.
        arguments: Further arguments of `from_pretrained`, for the model or the base.
        setting: Name of the setting, for messages.
    Raises:
        ModelError: it cannot be loaded.
    """
    with loading(name, setting):
        adapter = adapter_config(name, revision)
        if adapter is None:
            _check_generates(name, arguments, revision, setting)
            whole: PreTrainedModel = AutoModelForCausalLM.from_pretrained(name, revision=revision, **arguments)
            return whole
        model = _with_adapter(name, adapter, arguments, revision=revision, setting=setting)
    config = model.peft_config[TRAINED]
    config.base_model_name_or_path = lasting_name(str(config.base_model_name_or_path))
    return model


def _check_generates(name: str, arguments: Mapping[str, Any], revision: str | None, setting: str) -> None:
    """Refuse a classifier: transformers would load it with a head of random weights."""
    config = AutoConfig.from_pretrained(
        name, revision=revision, trust_remote_code=arguments.get("trust_remote_code", False)
    )
    kinds = [kind for kind in config.architectures or () if "Classification" in kind]
    if kinds:
        raise ModelError(
            f"{setting} = {name}: is a classifier or reward model ({kinds[0]}), which generates no text. Name a causal "
            f"language model; use a reward model as a judge: reward:{name}."
        )


def _with_adapter(
    name: str, adapter: PeftConfig, arguments: Mapping[str, Any], *, revision: str | None, setting: str
) -> PeftModel:
    own_revision = None if Path(name).exists() else revision
    try:
        return _attached(_load_base(name, adapter, arguments, revision, setting), name, own_revision)
    except RuntimeError as error:  # shapes that differ
        base = _load_base(name, adapter, arguments, revision, setting)
        rows, wanted = num_embeddings(base), _num_tokens(name)
        if wanted not in (None, rows):
            base.resize_token_embeddings(wanted, mean_resizing=False)
            try:
                return _attached(base, name, own_revision)
            except RuntimeError:
                pass  # the first error is about the files as they are
        raise ModelError(
            f"{setting} = {name}: the adapter does not fit its base model {adapter.base_model_name_or_path}, which has "
            f"{rows:,} embeddings ({first_line(error)}). If tokens were added before training, put the tokenizer with "
            "these tokens beside the adapter; else name the right base model in adapter_config.json."
        ) from error


def _attached(base: PreTrainedModel, name: str, revision: str | None) -> PeftModel:
    model: PeftModel = PeftModel.from_pretrained(base, name, adapter_name=TRAINED, is_trainable=True, revision=revision)
    return model


def _load_base(
    name: str, adapter: PeftConfig, arguments: Mapping[str, Any], revision: str | None, setting: str
) -> PreTrainedModel:
    base = str(adapter.base_model_name_or_path)
    of_base = adapter.revision or (revision if Path(name).exists() else None)
    with loading_base(name, base, setting):
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(base, revision=of_base, **arguments)
    return model


def _num_tokens(name: str) -> int | None:
    """Number of tokens of the tokenizer beside an adapter; None if there is none."""
    try:
        return len(AutoTokenizer.from_pretrained(name))
    except Exception:  # there may be anything, or nothing
        return None
