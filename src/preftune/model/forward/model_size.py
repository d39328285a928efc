"""Sizes of a model: its context, its embeddings, and its work per token."""

from collections.abc import Mapping
from typing import Any

from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedConfig, PretrainedConfig, PreTrainedModel

from preftune.model.forward.packed import language_model_of
from preftune.planning.sizes import WorkModel


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


_FORWARD, _BACKWARD_TO_INPUT, _BACKWARD_TO_WEIGHT = 2, 2, 2
"""Floating point operations for a token and a weight: a product and a sum each. A frozen weight has no third part."""
_FOR_A_KEY = 12
"""The same for a token, a key and a unit of width: score and weighted sum, 4 in the forward and 8 in the backward."""


def work_of(model: nn.Module) -> WorkModel:
    """Work of a forward and backward by lengths, as the planner takes it.

    per_token        = 6 * trainable + 4 * frozen weights, outside of embeddings and head
    per_target       = the same for the weights of the head
    per_attended_key = 12 * layers * width of the queries

    Looking up an embedding costs nothing. What is not looked into: a mixture of experts counts as if a token went to
    all of them, activations as if they were never computed again, and layers with a window as if they had none.

    Args:
        model: With all its weights: not sharded yet.
    Raises:
        ModelError: it holds no model of transformers.
    """
    language_model = language_model_of(model)
    head = language_model.get_output_embeddings()
    head_weight = head.weight if isinstance(head, nn.Linear) else None
    lookups = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    body = [weight for weight in model.parameters() if id(weight) not in lookups and weight is not head_weight]
    return WorkModel(
        per_token=sum(map(_for_a_token, body)),
        per_target=0 if head_weight is None else _for_a_token(head_weight),
        per_attended_key=_FOR_A_KEY * _attention_width(language_model.config.get_text_config()),
    )


def _attention_width(config: PreTrainedConfig) -> int:
    """Width of the queries, added up over layers; 0 for a model whose settings do not tell."""
    heads, layers = _number(config, "num_attention_heads"), _number(config, "num_hidden_layers")
    return layers * (heads * _number(config, "head_dim") or (_number(config, "hidden_size") if heads else 0))


def _number(config: PreTrainedConfig, name: str) -> int:
    value = getattr(config, name, None)
    return value if isinstance(value, int) else 0


def _for_a_token(weight: Tensor) -> int:
    operations = _FORWARD + _BACKWARD_TO_INPUT + (_BACKWARD_TO_WEIGHT if weight.requires_grad else 0)
    return operations * weight.numel()
