"""Ways to get the log-prob of each target from hidden states and a head's weights."""

import importlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from preftune.model.forward.head.linear_logp import linear_logp, plain_linear_logp
from preftune.model.forward.head.tiles import Tiles

__all__ = ["BASE", "LOGP_SIDES", "LogpCase", "forward_backward", "make_inputs"]

LogpFunction = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(hidden, weight, targets) -> log-prob of each target."""
BASE = "log_softmax + gather"


@dataclass(frozen=True, slots=True)
class LogpCase:
    """Sizes, and whether products are in bfloat16 autocast; tensors are float32 always."""

    num_tokens: int
    hidden_size: int
    vocabulary_size: int
    bf16: bool


def make_inputs(case: LogpCase) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states, weights and targets, always the same."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(case.num_tokens, case.hidden_size, generator=generator)
    weight = torch.randn(case.vocabulary_size, case.hidden_size, generator=generator) * case.hidden_size**-0.5
    targets = torch.randint(case.vocabulary_size, (case.num_tokens,), generator=generator)
    return hidden.requires_grad_(), weight.requires_grad_(), targets


def forward_backward(given: tuple[str, LogpCase]) -> Callable[[], Tensor]:
    """One side's forward and backward on one case. Returns its log-probs."""
    name, case = given
    function, (hidden, weight, targets) = LOGP_SIDES[name], make_inputs(case)

    def work() -> Tensor:
        hidden.grad = weight.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=case.bf16), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logps = function(hidden, weight, targets)
        logps.sum().backward()
        return logps.detach()

    return work


def _fused(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return linear_logp(hidden, weight, targets)


def _fused_keeping(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return linear_logp(hidden, weight, targets, tiles=Tiles(keep_bytes=1 << 40))


def _cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return -functional.cross_entropy(functional.linear(hidden, weight).float(), targets, reduction="none")


def _torch_chunked(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    function: Any = getattr(functional, "linear_cross_entropy")  # noqa: B009  # torch 2.13 has it, 2.11 does not
    options: Any = getattr(torch.nn, "LinearCrossEntropyOptions")()  # noqa: B009
    losses: Tensor = function(hidden, weight, targets, reduction="none", options=options)
    return -losses


def _trl(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """As its DPO trainer calls it: with what its metrics take from the same pass."""
    utils: Any = importlib.import_module("trl.trainer.utils")
    arguments = (1.0, utils._CHUNKED_LOGPROB_CHUNK_SIZE, None, 1.0, ("log_probs", "entropy", "mean_logits", "is_top1"))
    logps: Tensor = utils._ChunkedLogProbFunction.apply(hidden, weight, None, targets, *arguments)[0]
    return logps


def _has_trl() -> bool:
    """True if TRL is installed and has the function; its name may change with any version."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return hasattr(importlib.import_module("trl.trainer.utils"), "_ChunkedLogProbFunction")
    except ImportError:
        return False


def _sides() -> dict[str, LogpFunction]:
    sides: dict[str, LogpFunction] = {
        "preftune": _fused,
        "preftune, tiles kept": _fused_keeping,
        BASE: plain_linear_logp,
        "cross_entropy": _cross_entropy,
    }
    if hasattr(functional, "linear_cross_entropy"):
        sides["linear_cross_entropy, chunked"] = _torch_chunked
    return sides | ({"TRL, chunked": _trl} if _has_trl() else {})


LOGP_SIDES: Mapping[str, LogpFunction] = _sides()
"""Those that are installed."""
