"""Reward models: a language model with one output in place of its head."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel, TaskType
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from preftune.errors import ModelError
from preftune.files.run_files import CONFIG
from preftune.model.forward.model_size import num_embeddings
from preftune.model.forward.rewards import reward_head_of
from preftune.model.load.merging import merge_adapter
from preftune.model.load.places import lasting_name, loading
from preftune.model.load.pretrained import TRAINED, adapter_config, load_pretrained, loading_base
from preftune.settings import read_settings
from preftune.settings.chat import ChatChoice

_TEXT = "preftune_text"
"""Entry in the config of a reward model that was trained here: the chat choice of its texts, which end in one
end-of-sequence token."""


def load_reward_model(
    name: str, arguments: Mapping[str, Any], *, revision: str | None = None
) -> PreTrainedModel | PeftModel:
    """The reward model called `name`, or a new one made of the language model called `name`.

    The output of a new one is a linear layer with random weights on the hidden states. An adapter of a language model
    is merged first; one of a reward model stays an adapter, which can be trained further.

    Args:
        name: Local folder or hub id.
        arguments: Further arguments of `from_pretrained`.
    Raises:
        ModelError: it cannot be loaded, or has several outputs.
    """
    adapter = adapter_config(name, revision)
    with loading(name, what="reward model or causal language model"):
        if adapter is None:
            model: PreTrainedModel | PeftModel = _classifier(name, revision, arguments)
        elif is_reward_adapter(adapter):
            base = str(adapter.base_model_name_or_path)
            with loading_base(name, base):
                whole = _classifier(base, adapter.revision, arguments)
            own_revision = None if Path(name).exists() else revision
            model = PeftModel.from_pretrained(
                whole, name, adapter_name=TRAINED, is_trainable=True, revision=own_revision
            )
            model.peft_config[TRAINED].base_model_name_or_path = lasting_name(base)
        else:
            model = _with_output(load_pretrained(name, arguments, revision=revision))
    reward_head_of(model)
    return model


def note_text(model: PreTrainedModel | PeftModel, chat: ChatChoice) -> None:
    """Write into the config of a reward model how prompts and completions become its tokens."""
    setattr(model.config, _TEXT, {"chat": chat.mode, "chat_template_kwargs": dict(chat.variables)})


def noted_text(name: str, model: PreTrainedModel | PeftModel) -> ChatChoice | None:
    """The way from prompts to text of a reward model that was trained here; None for another.

    Args:
        name: Folder or hub id. An adapter has no config of its own: that of its run, in the same folder, says it.
    """
    noted: Any = getattr(model.config, _TEXT, None)
    run = Path(name) / CONFIG
    if noted is None and isinstance(model, PeftModel) and run.is_file():
        noted = read_settings(run)
    return None if noted is None else ChatChoice(noted["chat"], noted["chat_template_kwargs"])


def is_reward_adapter(adapter: PeftConfig | None) -> bool:
    """True if an adapter turns its base model into a reward model or another classifier."""
    return adapter is not None and adapter.task_type == TaskType.SEQ_CLS


def _classifier(name: str, revision: str | None, arguments: Mapping[str, Any]) -> PreTrainedModel:
    config = AutoConfig.from_pretrained(
        name, revision=revision, trust_remote_code=arguments.get("trust_remote_code", False)
    )
    is_classifier = any("SequenceClassification" in kind for kind in config.architectures or ())
    outputs = {} if is_classifier else {"num_labels": 1}
    model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
        name, revision=revision, **outputs, **arguments
    )
    return model


def _with_output(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """A new reward model on the hidden states of a language model, whose adapter is merged."""
    plain = merge_adapter(model) if isinstance(model, PeftModel) else model
    config = copy.deepcopy(plain.config)
    config.num_labels = 1
    rewards: PreTrainedModel = AutoModelForSequenceClassification.from_config(config, dtype=plain.dtype)
    rewards.base_model.load_state_dict(plain.base_model.state_dict())
    return rewards


def make_usable(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase, chat: ChatChoice) -> None:
    """Make sure that the rewards of the saved model are those of training: `note_text`, and padding.

    Model and tokenizer get a padding token that no text ends in, a new one if the tokenizer has none. transformers
    reads the reward at the last token that is not padding. If padding is the end-of-sequence token, as in many chat
    models, it reads one token before the end that was learned.

    Raises:
        ModelError: the tokenizer has no special token but the end-of-sequence token, and the model is an adapter.
    """
    note_text(model, chat)
    known = [tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id, *tokenizer.all_special_ids]
    usable = [token for token in known if token not in (None, tokenizer.eos_token_id)]
    if usable:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(usable[0])
    else:
        _add_padding(model, tokenizer)
    model.config.pad_token_id = model.config.get_text_config().pad_token_id = tokenizer.pad_token_id


def _add_padding(model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Add a token, and an embedding for it where there is no room."""
    if isinstance(model, PeftModel):
        raise ModelError(
            f"the tokenizer has no special token but {tokenizer.eos_token!r}, which ends each text. A reward model "
            "needs another one for padding, and an adapter cannot bring its embedding. Train without --lora, or set "
            "tokenizer.pad_token of the model to a token that occurs in no text."
        )
    tokenizer.add_special_tokens({"pad_token": "<|padding|>"})
    if num_embeddings(model) <= tokenizer.pad_token_id:
        model.resize_token_embeddings(int(tokenizer.pad_token_id) + 1, mean_resizing=False)
