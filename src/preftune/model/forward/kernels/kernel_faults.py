"""Is a kernel right on the machine at hand? Small problems of the model's shapes, against plain torch.

A kernel may err a few times as much as plain torch in the same dtype does, both measured by plain torch in float64. So
the check is sharp in any dtype.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from preftune.errors import first_line
from preftune.model.forward.attention.plan import AttentionPlan
from preftune.model.forward.attention.segment_attention import segment_attention
from preftune.model.forward.head.linear_logits import LinearLogits
from preftune.model.forward.head.linear_logp import linear_logp, plain_linear_logp
from preftune.model.forward.kernels.kernels import AttentionKernel, AttentionLayer, LogpKernel, LogpTask
from preftune.model.forward.packed_batch import GroupSpan

__all__ = ["attention_fault", "logp_fault"]

ROUNDING_RATIO = 4.0
"""A kernel's error may be so many times that of plain torch: both round, but not at the same places."""
SPANS = (GroupSpan((0, 150), ((150, 220), (220, 350), (350, 359))), GroupSpan((359, 362), ((362, 382), (382, 383))))
"""More tokens than fit into one block of a kernel, and prompts both longer and shorter than the completions."""
MAX_WINDOW = 61
"""A longer window would hide nothing from the sequences of `SPANS`."""
NUM_TARGETS = 130
MAX_VOCABULARY = 5003
"""Of the problem for log-probs: neither fills the last block of a kernel."""
LOGIT_SPREAD = 3.0
"""Standard deviation of that problem's logits."""


def attention_fault(kernel: AttentionKernel, layer: AttentionLayer) -> str | None:
    """What is wrong with the kernel for this layer; None if output and gradients are right.

    Args:
        kernel: To be tried.
        layer: One that fits it.
    """
    plan = AttentionPlan(SPANS)
    window = None if layer.window is None else min(layer.window, MAX_WINDOW)
    shapes = {
        "query": (layer.num_heads, layer.width),
        "key": (layer.num_key_heads, layer.width),
        "value": (layer.num_key_heads, layer.value_width),
    }
    random = _Random(layer.device)
    inputs = {
        name: random.normal(heads, plan.num_tokens, width).to(layer.dtype) for name, (heads, width) in shapes.items()
    }
    keys = plan.segment_keys(layer.device)

    def plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return segment_attention(query, key, value, plan, scaling=layer.scaling, window=window)

    def tried(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return kernel.attend(query, key, value, keys, scaling=layer.scaling, window=window)

    return _Trial(inputs, plain, plain).fault(tried)


def logp_fault(kernel: LogpKernel, task: LogpTask) -> str | None:
    """What is wrong with the kernel for this task; None if log-probs and gradients are right.

    Args:
        kernel: To be tried.
        task: One that fits it.
    """
    vocabulary_size = min(task.vocabulary_size, MAX_VOCABULARY)
    random = _Random(task.device)
    spread = LOGIT_SPREAD / abs(task.scale) / task.width**0.5
    inputs = {
        "hidden": random.normal(NUM_TARGETS, task.width).to(task.dtype),
        "weight": (random.normal(vocabulary_size, task.width) * spread).to(task.dtype).to(task.weight_dtype),
    }
    if task.has_bias:
        inputs["bias"] = random.normal(vocabulary_size).to(task.weight_dtype)
    targets = random.integers(vocabulary_size, NUM_TARGETS)

    def exact(hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return plain_linear_logp(hidden, weight, targets, bias=bias, scale=task.scale, softcap=task.softcap)

    def plain(hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return linear_logp(hidden, weight, targets, bias=bias, scale=task.scale, softcap=task.softcap)

    def tried(hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return kernel.logps(LinearLogits(hidden, weight, bias, task.scale, task.softcap), targets)

    return _Trial(inputs, exact, plain).fault(tried)


_Function = Callable[..., Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """A function of named tensors in plain torch: as it would be computed in float64, and as it would be used."""

    inputs: Mapping[str, Tensor]
    exact: _Function
    plain: _Function

    def fault(self, tried: _Function) -> str | None:
        """Where another function that should be the same is not."""
        device = next(iter(self.inputs.values())).device
        with torch.autocast(device.type, enabled=False), torch.enable_grad():
            exact = _results(self.exact, {name: tensor.double() for name, tensor in self.inputs.items()})
            plain = _results(self.plain, self.inputs)
            try:
                found = _results(tried, self.inputs)
            except Exception as raised:  # Whatever a kernel may raise, it means that it cannot do this.
                return first_line(raised)
        faults = (_deviation(name, found, plain, exact) for name in exact)
        return next((fault for fault in faults if fault is not None), None)


_Results = dict[str, Tensor]


def _deviation(name: str, found: _Results, plain: _Results, exact: _Results) -> str | None:
    """What is wrong with a result that was found, by the rounding of plain torch and by that of float64."""
    expected = exact[name]
    if found[name].shape != expected.shape:
        return f"{name} of shape {tuple(found[name].shape)}, not {tuple(expected.shape)}"
    error, rounding = (float((each[name] - expected).norm()) for each in (found, plain))
    # A gradient that is 0 by nature, as by the query where each sees one key only, is rounded as the others are.
    peers = ["output"] if name == "output" else [other for other in exact if other != "output"]
    size = max(float(exact[peer].norm()) for peer in peers)
    if error <= ROUNDING_RATIO * rounding + torch.finfo(plain[name].dtype).eps * size:
        return None
    shares = (part / (float(expected.norm()) or size) for part in (error, rounding))
    return "{} off by {:.1e} of its size, where rounding explains {:.1e}".format(name, *shares)


def _results(function: _Function, inputs: Mapping[str, Tensor]) -> _Results:
    """Output and gradients for a fixed random weighting of the output."""
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
    output = function(*leaves.values())
    weighting = _Random(output.device).normal(*output.shape).to(output.dtype)
    gradients = torch.autograd.grad(output, tuple(leaves.values()), weighting)
    named = {f"gradient by {name}": gradient for name, gradient in zip(leaves, gradients, strict=True)}
    return {"output": output.detach(), **named}


class _Random:
    """The same numbers on every device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._generator = torch.Generator().manual_seed(0)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator, dtype=torch.float64).to(self._device, torch.float32)

    def integers(self, stop: int, number: int) -> Tensor:
        return torch.randint(stop, (number,), generator=self._generator).to(self._device)
