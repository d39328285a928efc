"""Before the first step: which kernels are correct on this machine, and why the others are not used."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, Never, TypeVar, final

import torch
from torch import Tensor, nn

from preftune.errors import first_line
from preftune.model.forward.attention.segment_attention import AttentionPlan, segment_attention
from preftune.model.forward.attention.varlen_attention import find_varlen_attention
from preftune.model.forward.head.cut_cross_entropy import find_cut_cross_entropy
from preftune.model.forward.head.linear_logp import linear_logp, plain_linear_logp
from preftune.model.forward.head.tiles import LinearLogits
from preftune.model.forward.kernels.kernels import AttentionKernel, AttentionLayer, Kernels, LogpKernel, LogpTask
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import GroupSpan, PackedBatch


@dataclass(frozen=True, slots=True)
class Candidates:
    """Kernels to test on a device; a string is the reason why there is none.

    Args:
        attention: For attention over packed rows.
        logps: For log-probs without logits.
    """

    attention: AttentionKernel | str
    logps: LogpKernel | str


@dataclass(frozen=True, slots=True)
class KernelChoice:
    """Kernels that are correct for a model, and the reason that users see."""

    kernels: Kernels
    reason: str


def candidates_on(device: torch.device) -> Candidates | None:
    """The kernels to test on a device; None if there is only plain torch.

    >>> candidates_on(torch.device("cpu")) is None
    True
    """
    if device.type != "cuda":
        return None
    return Candidates(find_varlen_attention(), find_cut_cross_entropy())


def choose_kernels(model: nn.Module, batch: PackedBatch, candidates: Candidates) -> KernelChoice:
    """Test the candidates on the shapes of this model, and keep those that are correct.

    Args:
        model: Correct on packed rows with plain torch. Call this under the autocast of training, if any.
        batch: A small one, on the model's device.
        candidates: Kernels to test.
    Raises:
        ModelError: the model cannot work on packed rows.
    """
    layers, tasks = _Recorder[AttentionLayer](), _Recorder[LogpTask]()
    with torch.no_grad():
        PackedForward(kernels=Kernels(layers, tasks)).token_logps(model, batch)
    attention, of_attention = _attention(candidates.attention, layers.asked)
    logps, of_logps = _logps(candidates.logps, tasks.asked)
    return KernelChoice(Kernels(attention, logps), f"attention {of_attention}; log-probs {of_logps}")


def _attention(
    candidate: AttentionKernel | str, layers: Iterable[AttentionLayer]
) -> tuple[AttentionKernel | None, str]:
    if isinstance(candidate, str):
        return None, f"segment by segment ({candidate})"
    misfits = {layer: candidate.misfit(layer) for layer in layers}
    faults = (attention_fault(candidate, layer) for layer, misfit in misfits.items() if misfit is None)
    is_right, reason = _verdict(candidate.name, misfits.values(), faults, plain="segment by segment")
    return candidate if is_right else None, reason


def _logps(candidate: LogpKernel | str, tasks: Collection[LogpTask]) -> tuple[LogpKernel | None, str]:
    if not tasks:
        return None, "from the model's own logits (unknown kind of head)"
    if isinstance(candidate, str):
        return None, f"tile by tile ({candidate})"
    misfits = {task: candidate.misfit(task) for task in tasks}
    faults = (logp_fault(candidate, task) for task, misfit in misfits.items() if misfit is None)
    is_right, reason = _verdict(candidate.name, misfits.values(), faults, plain="tile by tile")
    return candidate if is_right else None, reason


def _verdict(
    name: str, misfits: Collection[str | None], faults: Iterator[str | None], *, plain: str
) -> tuple[bool, str]:
    """True if the kernel is used, and the reason that users see.

    >>> _verdict("a kernel", ["no dropout", None], iter([None]), plain="plain torch")
    (True, 'by a kernel, plain torch where unsupported (no dropout)')
    >>> _verdict("a kernel", [None], iter(["output off by 9.9e-01"]), plain="plain torch")
    (False, 'plain torch (a kernel: output off by 9.9e-01)')
    """
    reasons = ", ".join(sorted({misfit for misfit in misfits if misfit is not None}))
    if None not in misfits:
        return False, f"{plain} ({name}: {reasons})"
    fault = next((fault for fault in faults if fault is not None), None)
    if fault is not None:
        return False, f"{plain} ({name}: {fault})"
    return True, f"by {name}" + (f", {plain} where unsupported ({reasons})" if reasons else "")


Asked = TypeVar("Asked", AttentionLayer, LogpTask)


@final
class _Recorder(Generic[Asked]):
    """Records the shapes that a model asks for, and leaves the work to plain torch. Both kinds of kernel."""

    name = "recorder"

    def __init__(self) -> None:
        self.asked: dict[Asked, None] = {}

    def misfit(self, asked: Asked) -> str:
        """Record it and refuse it."""
        self.asked[asked] = None
        return "records only"

    def attend(self, *_: object, **__: object) -> Never:
        """Never called, because every layer is refused."""
        raise AssertionError("a kernel that refuses everything was called")

    def logps(self, *_: object, **__: object) -> Never:
        """Never called, because every task is refused."""
        raise AssertionError("a kernel that refuses everything was called")


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
    """Fault of the kernel for this layer; None if output and gradients are correct.

    Args:
        kernel: Kernel to test.
        layer: A layer that it supports.
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
    """Fault of the kernel for this task; None if log-probs and gradients are correct.

    Args:
        kernel: Kernel to test.
        task: A task that it supports.
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
        """Fault of another function that should give the same results."""
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
    """Fault of a result, if its error exceeds what the rounding of plain torch explains."""
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
    """Random numbers that are the same on every device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._generator = torch.Generator().manual_seed(0)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator, dtype=torch.float64).to(self._device, torch.float32)

    def integers(self, stop: int, number: int) -> Tensor:
        return torch.randint(stop, (number,), generator=self._generator).to(self._device)
