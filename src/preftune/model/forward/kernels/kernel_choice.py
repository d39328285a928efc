"""Before the first step: which kernels are right on the machine at hand, and why not the others."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Never, final

import torch
from torch import nn

from preftune.model.forward.attention.varlen_attention import find_varlen_attention
from preftune.model.forward.head.cut_cross_entropy import find_cut_cross_entropy
from preftune.model.forward.kernels.kernel_faults import attention_fault, logp_fault
from preftune.model.forward.kernels.kernels import AttentionKernel, AttentionLayer, Kernels, LogpKernel, LogpTask
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import PackedBatch

__all__ = ["Candidates", "KernelChoice", "candidates_on", "choose_kernels"]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Kernels that could be used on a device; a text says why there is none.

    Args:
        attention: For attention over packed rows.
        logps: For log-probs without logits.
    """

    attention: AttentionKernel | str
    logps: LogpKernel | str


@dataclass(frozen=True, slots=True)
class KernelChoice:
    """Kernels that are right for a model, and what users are told of them."""

    kernels: Kernels
    reason: str


def candidates_on(device: torch.device) -> Candidates | None:
    """The kernels to try on a device; None where there is nothing but plain torch.

    >>> candidates_on(torch.device("cpu")) is None
    True
    """
    if device.type != "cuda":
        return None
    return Candidates(find_varlen_attention(), find_cut_cross_entropy())


def choose_kernels(model: nn.Module, batch: PackedBatch, candidates: Candidates) -> KernelChoice:
    """Try the candidates on what this model asks of them, and keep those that are right.

    Args:
        model: Right on packed rows with plain torch. Run it under the autocast of training, if any.
        batch: A small one, on the model's device.
        candidates: What to try.
    Raises:
        ModelError: the model cannot work on packed rows.
    """
    layers, tasks = _Layers(), _Tasks()
    with torch.no_grad():
        PackedForward(kernels=Kernels(layers, tasks)).token_logps(model, batch)
    attention, of_attention = _attention(candidates.attention, layers.seen)
    logps, of_logps = _logps(candidates.logps, tasks.seen)
    return KernelChoice(Kernels(attention, logps), f"attention {of_attention}; log-probs {of_logps}")


def _attention(
    candidate: AttentionKernel | str, layers: Iterable[AttentionLayer]
) -> tuple[AttentionKernel | None, str]:
    if isinstance(candidate, str):
        return None, f"segment by segment ({candidate})"
    misfits = {layer: candidate.misfit(layer) for layer in layers}
    faults = (attention_fault(candidate, layer) for layer, misfit in misfits.items() if misfit is None)
    is_right, told = _told(candidate.name, misfits.values(), faults, plain="segment by segment")
    return candidate if is_right else None, told


def _logps(candidate: LogpKernel | str, tasks: Collection[LogpTask]) -> tuple[LogpKernel | None, str]:
    if not tasks:
        return None, "from the model's own logits (its head is not known here)"
    if isinstance(candidate, str):
        return None, f"tile by tile ({candidate})"
    misfits = {task: candidate.misfit(task) for task in tasks}
    faults = (logp_fault(candidate, task) for task, misfit in misfits.items() if misfit is None)
    is_right, told = _told(candidate.name, misfits.values(), faults, plain="tile by tile")
    return candidate if is_right else None, told


def _told(name: str, misfits: Collection[str | None], faults: Iterator[str | None], *, plain: str) -> tuple[bool, str]:
    """Whether a kernel is to be used, and what users are told of it.

    >>> _told("a kernel", ["no dropout", None], iter([None]), plain="plainly")
    (True, 'by a kernel, plainly where it fits not (no dropout)')
    >>> _told("a kernel", [None], iter(["output off by 9.9e-01"]), plain="plainly")
    (False, 'plainly (a kernel: output off by 9.9e-01)')
    """
    reasons = ", ".join(sorted({misfit for misfit in misfits if misfit is not None}))
    if None not in misfits:
        return False, f"{plain} ({name}: {reasons})"
    fault = next((fault for fault in faults if fault is not None), None)
    if fault is not None:
        return False, f"{plain} ({name}: {fault})"
    return True, f"by {name}" + (f", {plain} where it fits not ({reasons})" if reasons else "")


@final
class _Layers:
    """Takes down what layers ask for, and leaves them to plain torch. An `AttentionKernel`."""

    name = "notes"

    def __init__(self) -> None:
        self.seen: dict[AttentionLayer, None] = {}

    def misfit(self, layer: AttentionLayer) -> str:
        """See `AttentionKernel.misfit`."""
        self.seen[layer] = None
        return "for notes only"

    def attend(self, *_: object, **__: object) -> Never:
        """Nothing fits, so that nobody calls this."""
        raise AssertionError("a kernel that nothing fits was called")


@final
class _Tasks:
    """Takes down what is asked of kernels for log-probs, and leaves it to plain torch. A `LogpKernel`."""

    name = "notes"

    def __init__(self) -> None:
        self.seen: dict[LogpTask, None] = {}

    def misfit(self, task: LogpTask) -> str:
        """See `LogpKernel.misfit`."""
        self.seen[task] = None
        return "for notes only"

    def logps(self, *_: object, **__: object) -> Never:
        """Nothing fits, so that nobody calls this."""
        raise AssertionError("a kernel that nothing fits was called")
