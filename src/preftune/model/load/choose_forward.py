"""The forward of a run: packed rows where they are right for the models at hand."""

from dataclasses import replace

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel, TrainingArguments

from preftune.model.forward.arithmetic import Arithmetic, autocast_type
from preftune.model.forward.head.logit_tiles import Tiles
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.self_check import ForwardChoice, choose_forward
from preftune.model.reference.reference import FrozenCopy, Reference

__all__ = ["choose_forward_for"]

_TILES = Tiles(keep_bytes=256 * 2**20)
"""Logits of so many bytes wait for backward: little beside a model and its optimizer, and a seventh of the step."""


def choose_forward_for(
    policy: PreTrainedModel | PeftModel, reference: Reference, arguments: TrainingArguments
) -> ForwardChoice:
    """Try packed rows on the policy, and on the reference where that is a model of its own.

    Both are run in the precision of training, on the device of training unless they are to be sharded.

    Args:
        policy: The model in training, not wrapped yet.
        reference: Where reference log-probs come from.
        arguments: Say device and precision.
    Returns:
        The choice for the policy, or the one for the reference where only that falls back.
    """
    choice = _choose(policy, arguments)
    if isinstance(reference, FrozenCopy) and choice.forward.layout == "packed":
        of_reference = _choose(reference.model, arguments)
        if not isinstance(choice.forward, PackedForward) or not isinstance(of_reference.forward, PackedForward):
            return of_reference
        kernels = choice.forward.kernels.shared_with(of_reference.forward.kernels)
        return replace(choice, forward=replace(choice.forward, kernels=kernels))
    return choice


def _choose(model: PreTrainedModel | PeftModel, arguments: TrainingArguments) -> ForwardChoice:
    if not arguments.fsdp and not arguments.deepspeed:
        nn.Module.to(model, arguments.device)
    with Arithmetic(next(model.parameters()).device, autocast_type(arguments)).context():
        return choose_forward(model, tiles=_TILES)
