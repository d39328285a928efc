"""One packed row for all groups: each prompt is computed once, nothing is padded, no logits are kept."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from preftune.errors import ModelError
from preftune.planning import Layout
from preftune.policy.attention import packed_attention_on, stay_packed_in_backward
from preftune.policy.head import Head, find_head, logps_as_logits
from preftune.policy.linear_logp import logp_of_logits
from preftune.policy.logit_tiles import DEFAULT_TILES, Tiles
from preftune.policy.packed_batch import PackedBatch
from preftune.policy.plan import AttentionPlan

__all__ = ["PackedForward", "language_model_of"]


@dataclass(frozen=True, slots=True)
class PackedForward:
    """Runs all groups in one row, in which each completion attends to its prompt and to itself.

    Right for models that mix tokens in attention only, and only in attention that transformers lets us replace;
    `choose_forward` finds out.

    Args:
        tiles: How the logits are cut up, and how many bytes of them are kept for backward.
    """

    tiles: Tiles = DEFAULT_TILES
    layout: Layout = "packed"

    def token_logps(self, model: nn.Module, batch: PackedBatch) -> Tensor:
        """See `Forward.token_logps`.

        Raises:
            ModelError: the model cannot work on packed rows; the message says why.
        """
        language_model = language_model_of(model)
        head = find_head(model, language_model)
        plan = AttentionPlan(batch.spans)
        inputs = {
            "input_ids": batch.token_ids[None],
            "position_ids": batch.position_ids[None],
            "use_cache": False,
            "packed_plan": plan,
        }
        with packed_attention_on(language_model):
            if head is None:
                logps = _logps_by_logits(model, inputs, batch)
            else:
                logps = self._logps_by_head(model, inputs, batch, head)
        _check_windows(language_model.config.get_text_config(), plan)
        return stay_packed_in_backward(logps, language_model)

    def _logps_by_head(self, model: nn.Module, inputs: dict[str, Any], batch: PackedBatch, head: Head) -> Tensor:
        with logps_as_logits(model, head, batch, self.tiles):
            logps: Tensor = model(**inputs).logits
        return logps


def language_model_of(model: nn.Module) -> PreTrainedModel:
    """The model of transformers in `model`, which may be wrapped by DDP, FSDP, peft or torch.compile.

    Raises:
        ModelError: there is none.
    """
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            return module
    raise ModelError(f"{type(model).__name__} holds no model of transformers. Packed rows need one.")


def _logps_by_logits(model: nn.Module, inputs: dict[str, Any], batch: PackedBatch) -> Tensor:
    """Log-probs from the model's own logits, for heads that are not known here."""
    logits: Tensor = model(**inputs, logits_to_keep=batch.predictors).logits[0]
    if len(logits) == len(batch.token_ids):  # The model does not know `logits_to_keep`.
        logits = logits[batch.predictors]
    return logp_of_logits(logits, batch.targets)


def _check_windows(config: PreTrainedConfig, plan: AttentionPlan) -> None:
    """Make sure that the attention layers asked for what the settings say; short rows would not show it.

    Raises:
        ModelError: a kind of layer or a window that did not reach the attention of packed rows.
    """
    if not plan.windows_used:
        raise ModelError(f"{config.model_type}: no layer used the attention of packed rows. Use SequencesForward.")
    layer_types = set(getattr(config, "layer_types", None) or ())
    unknown = layer_types - {"full_attention", "sliding_attention"}
    if unknown:
        raise ModelError(
            f"{config.model_type}: layers of type {', '.join(sorted(unknown))} may see more or less of a row than the "
            "prompt and the completion. Use SequencesForward."
        )
    window = getattr(config, "sliding_window", None)
    slides = "sliding_attention" in layer_types if layer_types else getattr(config, "use_sliding_window", True)
    if window is not None and slides and window not in plan.windows_used:
        raise ModelError(
            f"{config.model_type}: the sliding window of {window} did not reach the attention layers. "
            "Use SequencesForward."
        )
