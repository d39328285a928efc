"""How many tokens a model knows, and how many it can read at once."""

from collections.abc import Mapping
from typing import Any

from peft import PeftModel
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

__all__ = ["context_length", "num_embeddings"]


def context_length(config: PretrainedConfig) -> int | None:
    """The longest sequence that the model's positions allow, or None where it has no bound."""
    lengths: Mapping[str, Any] = config.get_text_config().to_dict()
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        if isinstance(lengths.get(name), int):
            return int(lengths[name])
    return None


def num_embeddings(model: PreTrainedModel | PeftModel) -> int:
    """Rows of a causal LM's input embedding: token ids below it can be looked up."""
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, Tensor), type(weight)
    return weight.shape[0]
