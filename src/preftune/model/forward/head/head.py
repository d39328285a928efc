"""The head of a model, and a way to get log-probs out of the model instead of logits.

The model is called whole, wrapped or not, so that the hooks of DDP and FSDP fire. A hook at its head takes the hidden
states where they arrive, under the same autocast and with the weights gathered, computes the log-probs there and
leaves the head one row to do. A hook at the model's end puts the log-probs in the place of the logits.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from preftune.model.forward.head.tiles import LinearLogits
from preftune.model.forward.packed_batch import PackedBatch

SCALES = ("logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")
"""Settings by which models multiply or divide their logits: Cohere, Granite and HyperCLOVA X, Falcon-H1, Muse."""
SOFTCAPS = ("final_logit_softcapping", "logits_soft_cap")
"""Settings by which models bound their logits: Gemma and others."""
PROBE_LOGIT = 40.0
"""Largest logit of the probe: far in the bend of every soft-cap in use (15 to 50)."""


@dataclass(frozen=True, slots=True)
class Head:
    """logits = softcap * tanh(scale * linear(hidden) / softcap), or scale * linear(hidden) without soft-cap."""

    linear: nn.Linear
    scale: float
    softcap: float | None

    def logits(self, hidden: Tensor) -> LinearLogits:
        """The logits of hidden states, not computed yet. Shape: (target, width)."""
        return LinearLogits(hidden, self.linear.weight, self.linear.bias, self.scale, self.softcap)


_Rule = tuple[float, float | None]
"""Scale and soft-cap."""
_RULES: WeakKeyDictionary[nn.Module, _Rule | None] = WeakKeyDictionary()
"""Rules of the heads probed so far; None for a head that follows no known rule."""


def find_head(model: nn.Module, language_model: PreTrainedModel) -> Head | None:
    """The model's head, or None if it is not a plain linear layer with scale and soft-cap.

    The config is trusted only if the model agrees: once per head, the model is run on two tokens and its logits are
    compared. A head with an adapter on it, a quantized or a wrapped one is None as well.

    Args:
        model: The module that is called: the language model, or its wrapper.
        language_model: The model of transformers in it.
    """
    linear = language_model.get_output_embeddings()
    if type(linear) is not nn.Linear:
        return None
    if linear not in _RULES:
        _RULES[linear] = _proven_rule(model, language_model, linear)
    rule = _RULES[linear]
    return None if rule is None else Head(linear, *rule)


def _proven_rule(model: nn.Module, language_model: PreTrainedModel, linear: nn.Linear) -> _Rule | None:
    """The rule by which the model turns this head's outputs into logits, if it is a known one."""
    outputs: list[Tensor] = []

    def known_outputs(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        ramp = torch.linspace(-PROBE_LOGIT, PROBE_LOGIT, output.shape[-1], device=output.device)
        outputs.append(ramp.to(output.dtype).expand_as(output))
        return outputs[-1]

    hook = linear.register_forward_hook(known_outputs)
    try:
        with torch.no_grad():
            token_ids = torch.tensor([[1, 2]], device=linear.weight.device)
            logits: Tensor = model(input_ids=token_ids, use_cache=False).logits
    finally:
        hook.remove()
    if len(outputs) != 1 or outputs[0].shape != logits.shape:
        return None
    return next((rule for rule in _candidates(language_model) if _fits(rule, outputs[0], logits)), None)


def _candidates(language_model: PreTrainedModel) -> Iterator[_Rule]:
    config = language_model.config.get_text_config()
    numbers = [float(value) for name in SCALES if (value := getattr(config, name, None))]
    softcaps = [float(value) for name in SOFTCAPS if (value := getattr(config, name, None))]
    scales = [*numbers, *(1 / number for number in numbers), 1.0]
    return product(scales, [*softcaps, None])


def _fits(rule: _Rule, outputs: Tensor, logits: Tensor) -> bool:
    scale, softcap = rule
    expected = outputs.double() * scale
    if softcap is not None:
        expected = softcap * torch.tanh(expected / softcap)
    relative_error = 8 * min(torch.finfo(outputs.dtype).eps, torch.finfo(torch.bfloat16).eps)
    return bool((expected - logits.double()).abs().max() <= relative_error * expected.abs().max())


@contextmanager
def computed_at_head(
    model: nn.Module, head: Head, batch: PackedBatch, compute: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """Inside the context, the `logits` of `model` on the packed row are the result of `compute` on the hidden states.

    It is given those at the batch's predictors, shape (target, width). What depends on the weights leaves through the
    model's output, because FSDP learns from it when backward begins.
    """
    results: list[Tensor] = []

    def at_head(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        results.append(compute(inputs[0].flatten(0, -2).index_select(0, batch.predictors)))
        return (inputs[0][:, :1], *inputs[1:])

    def at_end(_module: nn.Module, _inputs: object, output: Any) -> Any:
        output.logits = results.pop()
        return output

    inner = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
    hooks = [head.linear.register_forward_pre_hook(at_head), inner.register_forward_hook(at_end, prepend=True)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
