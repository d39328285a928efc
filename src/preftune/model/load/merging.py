"""Merging of an adapter into the weights, proved by the log-probs before and after."""

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from preftune.errors import ModelError, first_line
from preftune.model.forward.forward import evaluating
from preftune.model.forward.model_size import num_embeddings

_TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 0.01, torch.bfloat16: 0.05}
"""Largest difference of log-probs (root mean square), as a share of their standard deviation over tokens and words."""

_NUM_TOKENS = 32


def merge_adapter(model: PeftModel) -> PreTrainedModel:
    """Add the active adapter to the weights, and check that log-probs stay the same.

    If the model ties its head to its embeddings and the adapter changes one of them, they are untied first: the head
    becomes a weight of its own, and the config says so.

    Args:
        model: Consumed: its base model becomes the merged one.
    Returns:
        The plain model.
    Raises:
        ModelError: the adapter cannot be merged, or the merged model is another one.
    """
    name = str(model.peft_config[model.active_adapter].base_model_name_or_path)
    before = None if _is_empty(model) else _logps(model)
    base = model.get_base_model()
    assert isinstance(base, PreTrainedModel), type(base).__name__
    _untie(base)
    try:
        merged: PreTrainedModel = model.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise ModelError(f"the adapter cannot be merged into {name} ({first_line(error)}).") from error
    _note_untied(merged)
    if before is not None:
        _check(before, _logps(merged), name)
    return merged


def _check(before: Tensor, after: Tensor, name: str) -> None:
    tolerance = _TOLERANCES[before.dtype]
    share = float((after - before).float().square().mean().sqrt() / before.float().std())
    if not share <= tolerance:
        raise ModelError(
            f"merging the adapter into {name} gives another model: log-probs differ by {share:.1e} of their spread, "
            f"{tolerance:.0e} allowed. Weights in few bits cannot take an adapter up: name a base model in full "
            "precision in adapter_config.json, or use the adapter without merging it."
        )


def _logps(model: PreTrainedModel | PeftModel) -> Tensor:
    """Log-probs of every token after each of some tokens spread over the vocabulary; of a reward model, its rewards.

    Shape: (token, vocabulary), or (token, 1).
    """
    device = next(model.parameters()).device
    token_ids = torch.linspace(0, num_embeddings(model) - 1, _NUM_TOKENS).long().to(device)
    with torch.no_grad(), evaluating(model):
        if getattr(model.config, "num_labels", None) == 1:
            return model(input_ids=token_ids[:, None], use_cache=False).logits  # type: ignore[no-any-return]
        logits: Tensor = model(input_ids=token_ids[None], use_cache=False).logits[0]
    return logits.log_softmax(-1)


def _is_empty(model: nn.Module) -> bool:
    """True if another process holds the weights."""
    return any(parameter.is_meta for parameter in model.parameters())


def _untie(base: PreTrainedModel) -> None:
    """Give the head a weight of its own if it shares that of the embeddings and an adapter is on one of them."""
    layers = (base.get_output_embeddings(), base.get_input_embeddings())
    if not any(isinstance(layer, BaseTunerLayer) for layer in layers):
        return
    head, embeddings = (layer.get_base_layer() if isinstance(layer, BaseTunerLayer) else layer for layer in layers)
    if _shares_weight(head, embeddings):
        weight = head.weight
        assert isinstance(weight, Tensor), type(weight)
        head.weight = nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)


def _note_untied(model: PreTrainedModel) -> None:
    """Write into the config that head and embeddings are not tied, or a reload would tie them."""
    config = model.config
    if not getattr(config.get_text_config(), "tie_word_embeddings", False):
        return
    if not _shares_weight(model.get_output_embeddings(), model.get_input_embeddings()):
        config.tie_word_embeddings = config.get_text_config().tie_word_embeddings = False
        model.all_tied_weights_keys = model.get_expanded_tied_weights_keys(all_submodels=True)


def _shares_weight(head: nn.Module | None, embeddings: nn.Module) -> bool:
    weight = getattr(head, "weight", None)
    return isinstance(weight, Tensor) and weight is getattr(embeddings, "weight", None)
