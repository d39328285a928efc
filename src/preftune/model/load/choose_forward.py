"""The forward of policy and reference: packed rows if they are right for both."""

from dataclasses import replace

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.head.tiles import Tiles
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.self_check import ForwardChoice, choose_forward
from preftune.model.reference.reference import FrozenCopy, Reference

_KEEP_BYTES = 256 * 2**20
"""Logits of so many bytes wait for backward: little beside a model and its optimizer, and a seventh of the step."""


def choose_forward_for(
    policy: PreTrainedModel | PeftModel, reference: Reference, arithmetic: Arithmetic, *, is_sharded: bool = False
) -> ForwardChoice:
    """Check packed rows on the policy, and on the reference if that is a model of its own.

    Both are computed by one forward, so it uses packed rows only if both models pass, and of the kernels only those
    that both pass with.

    Args:
        policy: Not wrapped yet. Moved to the device, as the reference is.
        is_sharded: The models will be sharded over processes, so they stay on the device they are on.
    Returns:
        The choice for the policy, or the one for the reference if only that falls back.
    """
    choice = _choose(policy, arithmetic, is_sharded=is_sharded)
    if isinstance(reference, FrozenCopy) and choice.forward.layout == "packed":
        of_reference = _choose(reference.model, arithmetic, is_sharded=is_sharded)
        if not isinstance(choice.forward, PackedForward) or not isinstance(of_reference.forward, PackedForward):
            return of_reference
        kernels = choice.forward.kernels.shared_with(of_reference.forward.kernels)
        if kernels != choice.forward.kernels:
            reason = f"{choice.reason}; without those that the reference does not pass with: {of_reference.reason}"
            return ForwardChoice(replace(choice.forward, kernels=kernels), reason)
    return choice


def _choose(model: PreTrainedModel | PeftModel, arithmetic: Arithmetic, *, is_sharded: bool) -> ForwardChoice:
    if not is_sharded:
        nn.Module.to(model, arithmetic.device)
    with Arithmetic(next(model.parameters()).device, arithmetic.autocast).context():
        return choose_forward(model, tiles=Tiles.on(arithmetic.device, keep_bytes=_KEEP_BYTES))
