"""Shared-prompt attention for the models of transformers, through `AttentionInterface`; no model is patched.

The implementation is registered without a mask function: transformers then builds no mask at all
(`masking_utils._preprocess_mask_arguments` returns early), so nothing of size (token, token) is ever allocated.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from preftune.errors import ModelError
from preftune.model.forward.attention.block_attention import block_attention
from preftune.model.forward.attention.segment_attention import AttentionPlan, segment_attention
from preftune.model.forward.kernels.kernels import AttentionKernel, AttentionLayer

IMPLEMENTATION = "preftune_packed"
"""Name under which transformers knows the attention of packed rows."""
BLOCK_DEVICES = frozenset({"cpu"})
"""Devices on which `block_attention` is faster than `segment_attention`."""


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    sliding_window: int | None = None,
    s_aux: Tensor | None = None,
    packed_plan: AttentionPlan | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention function that layers of transformers call.

    Runs the plan's kernel if it supports the layer; else `block_attention` on CPU without dropout; else
    `segment_attention`.

    Args:
        module: The attention layer.
        query: Shape: (1, head, token, width).
        key, value: Shape: (1, key head, token, width).
        attention_mask: Must be None: the plan says which keys are visible.
        scaling: Factor on the dot products; 1 / sqrt(width) if None.
        dropout: Probability that an attention weight is set to 0.
        softcap, sliding_window, s_aux: Bound on scores, window and sinks of this layer, where it has them.
        packed_plan: The keyword given to the model's forward.
        others: Further keywords of the model. One that would change the result is an error.
    Returns:
        Shape: (1, token, head, width); and None for the attention weights, which are not kept.
    Raises:
        ModelError: the plan does not arrive, or the layer asks for what packed rows do not do.
    """
    plan = _checked(module, query, key, attention_mask, packed_plan, others)
    plan.windows_used.add(sliding_window)
    query, key, value = _in_one_dtype(query[0], key[0], value[0])
    if scaling is None:
        scaling = query.shape[-1] ** -0.5
    with torch.autocast(query.device.type, enabled=False):
        kernel = _kernel(
            query, key, value, plan,
            scaling=scaling, window=sliding_window, softcap=softcap, has_sinks=s_aux is not None, dropout=dropout,
        )  # fmt: skip
        if kernel is not None:
            keys = plan.segment_keys(query.device)
            output = kernel.attend(query, key, value, keys, scaling=scaling, window=sliding_window)
        elif query.device.type in BLOCK_DEVICES and dropout == 0.0:
            blocks = plan.blocks(sliding_window)
            output = block_attention(query, key, value, blocks, scaling=scaling, softcap=softcap, sinks=s_aux)
        else:
            output = segment_attention(
                query, key, value, plan,
                scaling=scaling, window=sliding_window, softcap=softcap, sinks=s_aux, dropout=dropout,
            )  # fmt: skip
    return output.transpose(0, 1)[None].contiguous(), None


AttentionInterface.register(IMPLEMENTATION, packed_attention)


def _checked(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    attention_mask: Tensor | None,
    plan: AttentionPlan | None,
    others: dict[str, Any],
) -> AttentionPlan:
    layer = type(module).__name__
    if plan is None:
        raise ModelError(
            f"{layer} got no `packed_plan`: the model does not pass forward keywords to its attention, or was "
            f"called directly while set to {IMPLEMENTATION!r}. Use SequencesForward for it."
        )
    if attention_mask is not None:
        raise ModelError(f"{layer} passes its own mask, which packed rows cannot use. Use SequencesForward.")
    if query.shape[0] != 1 or query.shape[2] != plan.num_tokens or key.shape[2] != plan.num_tokens:
        raise ModelError(
            f"{layer} attends from {tuple(query.shape)} to {tuple(key.shape)}, but the packed row is 1 x "
            f"{plan.num_tokens} tokens. Packed rows do not support caches and prefixes; use SequencesForward."
        )
    if others.get("is_causal") is False or others.get("position_bias") is not None:
        raise ModelError(f"{layer} is not causal or adds a position bias. Use SequencesForward for this model.")
    return plan


def _kernel(
    query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, *, scaling: float, **wishes: Any
) -> AttentionKernel | None:
    """The plan's kernel, if it supports the layer."""
    if plan.kernel is None:
        return None
    layer = AttentionLayer(
        query.device, query.dtype, len(query), len(key), query.shape[-1], value.shape[-1], scaling, **wishes
    )
    return plan.kernel if plan.kernel.misfit(layer) is None else None


def _in_one_dtype(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rotary embeddings may leave query and key in float32 under autocast; do as SDPA does there."""
    device = query.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else value.dtype
    return query.to(dtype), key.to(dtype), value.to(dtype)


@contextmanager
def packed_attention_on(model: PreTrainedModel) -> Iterator[None]:
    """Switch `model` to the attention of packed rows inside the context, and restore its own afterwards.

    Raises:
        ModelError: the model's attention cannot be switched.
    """
    before = _implementations(model)
    if before[""] == IMPLEMENTATION:  # Two graphs in one backward, or a backward that broke off.
        before = _BEFORE[model]
    _BEFORE[model] = before
    model.set_attn_implementation(IMPLEMENTATION)
    try:
        if model.config._attn_implementation != IMPLEMENTATION:
            raise ModelError(
                f"{type(model).__name__} does not use the attention interface of transformers, so its prompt cannot "
                "be shared among completions. Use SequencesForward for this model."
            )
        yield
    finally:
        model.set_attn_implementation(before)


_BEFORE: WeakKeyDictionary[PreTrainedModel, dict[str, str]] = WeakKeyDictionary()
"""Attention implementations of switched models before the switch."""


def _implementations(model: PreTrainedModel) -> dict[str, str]:
    """The attention of the model and of its parts, as `set_attn_implementation` takes it."""
    parts = {name: getattr(model.config, name, None) for name in model.config.sub_configs}
    return {"": model.config._attn_implementation} | {
        name: part._attn_implementation for name, part in parts.items() if part is not None
    }


def stay_packed_in_backward(logps: Tensor, model: PreTrainedModel) -> Tensor:
    """The same values; while their backward runs, `model` uses the attention of packed rows again.

    Gradient checkpointing runs layers a second time in backward, after `packed_attention_on` has restored the model.
    Without this, they would run with another attention and silently give wrong gradients.
    """
    if not logps.requires_grad:
        return logps
    result: Tensor = _StayPacked.apply(logps, model)  # type: ignore[no-untyped-call]
    return result


class _StayPacked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logps: Tensor, model: PreTrainedModel) -> Tensor:
        ctx.model = model
        return logps.view_as(logps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        switch = packed_attention_on(ctx.model)
        switch.__enter__()
        engine = torch.autograd.Variable._execution_engine
        engine.queue_callback(partial(_leave, switch))
        return grad, None


def _leave(switch: AbstractContextManager[None]) -> None:
    switch.__exit__(None, None, None)
