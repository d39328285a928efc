"""Log-probs on CUDA through the kernels of cut-cross-entropy, which keep logits in the registers of the GPU.

Only with gradients that are those of the formula: nothing filtered away, sums in float32. Twin: `linear_logp`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import Any, final

import torch
from torch import Tensor

from preftune.errors import first_line
from preftune.model.forward.head.tiles import LinearLogits, product_dtype
from preftune.model.forward.kernels.kernels import LogpTask

DTYPES = frozenset({torch.bfloat16, torch.float16})
EXACT = {"filter_eps": None, "accum_e_fp32": True, "accum_c_fp32": True}
"""No gradient is left out as too small, and those by hidden states (e) and weights (c) are summed up in float32."""
NEEDED = frozenset({*EXACT, "bias", "softcap", "reduction"})


@final
@dataclass(frozen=True, slots=True)
class CutCrossEntropy:
    """`cut_cross_entropy.linear_cross_entropy`, exact. A `LogpKernel`.

    Weights wider than the matrix products are copied once in the products' dtype.

    Args:
        function: `linear_cross_entropy`.
    Source: Wijmans et al. 2024, arXiv:2411.09009; the options: `impl="cce_exact"` of the same package.
    """

    function: Callable[..., Any]

    @property
    def name(self) -> str:
        """See `LogpKernel.name`."""
        return "cut-cross-entropy"

    def misfit(self, task: LogpTask) -> str | None:
        """See `LogpKernel.misfit`."""
        if task.device.type != "cuda":
            return f"not on {task.device.type}"
        if task.dtype not in DTYPES:
            return f"no {str(task.dtype).removeprefix('torch.')}"
        if task.has_extras:
            return "log-probs only"
        if task.num_targets == 0:
            return "at least one target"
        if not _is_exact_factor(task.scale, task.dtype):
            return f"no logit scale of {task.scale:g} without rounding"
        return None

    def logps(self, logits: LinearLogits, targets: Tensor) -> Tensor:
        """See `LogpKernel.logps`."""
        dtype, scale, bias = product_dtype(logits.hidden), logits.scale, logits.bias
        with torch.autocast(logits.hidden.device.type, enabled=False):
            losses: Tensor = self.function(
                logits.hidden.to(dtype) if scale == 1.0 else logits.hidden.to(dtype) * scale,
                logits.weight.to(dtype),
                targets,
                bias=bias if bias is None or scale == 1.0 else bias.float() * scale,
                softcap=logits.softcap,
                reduction="none",
                **EXACT,
            )
            return (-losses).clamp_max(0.0)


def find_cut_cross_entropy() -> CutCrossEntropy | str:
    """The kernel of the installed package, or the reason why it cannot be used."""
    try:
        package = import_module("cut_cross_entropy")
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed"
    except Exception as error:  # The import looks for drivers and may fail in any way.
        return f"cut_cross_entropy cannot be imported: {first_line(error)}"
    function = package.linear_cross_entropy
    missing = NEEDED - set(signature(function).parameters)
    if missing:
        return (
            f"cut-cross-entropy {package.__version__} takes no {', no '.join(sorted(missing))}; "
            "the one of github.com/apple/ml-cross-entropy does"
        )
    return CutCrossEntropy(function)


def _is_exact_factor(scale: float, dtype: torch.dtype) -> bool:
    """True if hidden states can be multiplied by `scale` without rounding.

    A power of two only changes the exponent. bfloat16 has the exponent range of float32; that of float16 is too small.

    >>> _is_exact_factor(0.0625, torch.bfloat16), _is_exact_factor(0.0625, torch.float16)
    (True, False)
    >>> _is_exact_factor(0.1, torch.bfloat16)
    False
    """
    return scale == 1.0 or (dtype == torch.bfloat16 and abs(math.frexp(scale)[0]) == 0.5)
