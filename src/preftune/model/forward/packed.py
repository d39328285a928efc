"""One packed row for all groups: each prompt is computed once, nothing is padded, no logits are kept."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from preftune.errors import ModelError
from preftune.model.forward.attention.attention import packed_attention_on, stay_packed_in_backward
from preftune.model.forward.attention.segment_attention import AttentionPlan
from preftune.model.forward.head.head import Head, computed_at_head, find_head
from preftune.model.forward.head.linear_kl import linear_kl
from preftune.model.forward.head.linear_logp import linear_token_values
from preftune.model.forward.head.tiles import DEFAULT_TILES, Tiles
from preftune.model.forward.head.token_values import (
    AllLogps,
    Distributions,
    HeadStates,
    TokenExtra,
    TokenValues,
    check_same_tokens,
    values_of_logits,
)
from preftune.model.forward.kernels.kernels import PLAIN, AttentionKernel, Kernels
from preftune.model.forward.packed_batch import PackedBatch
from preftune.planning.sizes import Layout


@dataclass(frozen=True, slots=True)
class PackedForward:
    """Runs all groups in one row, in which each completion attends to its prompt and to itself.

    Right for models that mix tokens in attention only, and only in attention that transformers lets us replace;
    `choose_forward` finds out.

    Args:
        tiles: Size of the tiles of logits, and number of bytes kept for backward.
        kernels: Used instead of plain torch where supported; `choose_kernels` tests which are correct on this machine.
    """

    tiles: Tiles = DEFAULT_TILES
    layout: Layout = "packed"
    kernels: Kernels = PLAIN

    def token_logps(self, model: nn.Module, batch: PackedBatch) -> Tensor:
        """See `Forward.token_logps`.

        Raises:
            ModelError: the model cannot work on packed rows; the message says why.
        """
        return self.token_values(model, batch).logps

    def token_values(
        self,
        model: nn.Module,
        batch: PackedBatch,
        *,
        extras: frozenset[TokenExtra] = frozenset(),
        reference: Distributions | None = None,
    ) -> TokenValues:
        """See `Forward.token_values`.

        Raises:
            ModelError: the model cannot work on packed rows, or the reference does not fit; the message says why.
        """
        head = find_head(model, language_model_of(model))
        if head is None:
            logits = _logits(model, batch, self.kernels.attention)
            return values_of_logits(logits, batch.targets, extras=extras, reference=reference)
        at_head = _ValuesAtHead(head, batch.targets, extras, reference, self)
        with computed_at_head(model, head, batch, at_head.compute):
            return at_head.taken_from(output_of_packed(model, batch, self.kernels.attention))

    def distributions(self, model: nn.Module, batch: PackedBatch) -> Distributions:
        """See `Forward.distributions`.

        Raises:
            ModelError: the model cannot work on packed rows; the message says why.
        """
        head = find_head(model, language_model_of(model))
        with torch.no_grad():
            if head is None:
                return AllLogps.of_logits(_logits(model, batch, self.kernels.attention))
            found: list[HeadStates] = []

            def keep(hidden: Tensor) -> Tensor:
                found.append(HeadStates.at(hidden, head))
                return hidden

            with computed_at_head(model, head, batch, keep):
                output_of_packed(model, batch, self.kernels.attention)
        (states,) = found
        return states


def language_model_of(model: nn.Module) -> PreTrainedModel:
    """The model of transformers in `model`, which may be wrapped by DDP, FSDP, peft or torch.compile.

    Raises:
        ModelError: there is none.
    """
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            return module
    raise ModelError(f"{type(model).__name__} holds no model of transformers. Packed rows need one.")


class _ValuesAtHead:
    """Values computed where the head is, of which only what has a gradient leaves through the model's output."""

    def __init__(
        self,
        head: Head,
        targets: Tensor,
        extras: frozenset[TokenExtra],
        reference: Distributions | None,
        forward: PackedForward,
    ) -> None:
        self._head = head
        self._targets = targets
        self._extras = extras
        self._reference = reference
        self._tiles = forward.tiles
        self._kernel = forward.kernels.logps
        self._values: TokenValues | None = None

    def compute(self, hidden: Tensor) -> Tensor:
        """Log-probs and KL from hidden states at the predictors. Shape: (target, width) -> (value, target)."""
        logits = self._head.logits(hidden)
        self._values = linear_token_values(
            logits, self._targets, extras=self._extras, tiles=self._tiles, kernel=self._kernel
        )
        if self._reference is None:
            return self._values.logps[None]
        check_same_tokens(self._reference, len(logits.weight))
        return torch.stack([self._values.logps, linear_kl(logits, self._reference.logits(), tiles=self._tiles)])

    def taken_from(self, output: Tensor) -> TokenValues:
        """The values, with gradients through the model. Shape of the output: (value, target)."""
        values = self._values
        assert values is not None, "the head was not called"
        logps, *kl = output
        return TokenValues(logps, values.entropy, values.log_collision, *kl)


def _logits(model: nn.Module, batch: PackedBatch, kernel: AttentionKernel | None) -> Tensor:
    """The model's own logits at the predictors, for heads of unknown kind. Shape: (target, vocabulary)."""
    logits = output_of_packed(model, batch, kernel, logits_to_keep=batch.predictors)[0]
    # Not every model knows `logits_to_keep`.
    return logits[batch.predictors] if len(logits) == len(batch.token_ids) else logits


def output_of_packed(model: nn.Module, batch: PackedBatch, kernel: AttentionKernel | None, **settings: Any) -> Tensor:
    """The `logits` that the model returns on the packed row."""
    language_model = language_model_of(model)
    plan = AttentionPlan(batch.spans, kernel)
    with packed_attention_on(language_model):
        output: Tensor = model(
            input_ids=batch.token_ids[None],
            position_ids=batch.position_ids[None],
            use_cache=False,
            packed_plan=plan,
            **settings,
        ).logits
    _check_windows(language_model.config.get_text_config(), plan)
    return stay_packed_in_backward(output, language_model)


def _check_windows(config: PreTrainedConfig, plan: AttentionPlan) -> None:
    """Check that the attention layers requested the window of the config; short rows would not show it.

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
