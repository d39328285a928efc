"""Fatal: NaN or infinity in a loss, a gradient or a weight."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from preftune.groups import Origin
from preftune.training.health.finding import SickRunError
from preftune.training.health.rule import Symptom
from preftune.training.health.rules.loss import NOT_FINITE

__all__ = ["all_finite", "stop_before_saving", "stop_before_step"]

_SHOWN_ROWS = 8


def all_finite(tensors: Iterable[Tensor]) -> Tensor:
    """True if all values of all tensors are finite, with a single synchronisation. Shape: (), bool.

    >>> all_finite([torch.ones(3), torch.tensor([1.0, float("nan")])]).item()
    False
    """
    found = [tensor for tensor in tensors if tensor.is_floating_point()]
    if not found:
        return torch.tensor(True)
    norm = nn.utils.get_total_norm(found)
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()
    # The norm of finite values may overflow.
    return norm.isfinite() if bool(norm.isfinite()) else torch.tensor(all(_is_finite(tensor) for tensor in found))


def stop_before_step(step: int, guilty: Sequence[Origin], rows: Sequence[Origin]) -> SickRunError:
    """The error that ends a run before the optimizer step, when its loss or gradient is NaN or infinite.

    Args:
        step: The step that was not taken, counted from 1.
        guilty: Rows of the step whose log-probs are not finite when run by themselves.
    """
    if guilty and len(guilty) < len(rows):
        seen = f"of its {len(rows)} rows {len(guilty)} have log-probs that are not finite either: {_listed(guilty)}"
    elif guilty:
        seen = f"no log-prob of its rows is finite either, so that the weights must be broken: {_listed(rows)}"
    else:
        seen = f"all log-probs of its rows are finite, so that the step itself went too far: {_listed(rows)}"
    message = (
        f"step {step}: the gradient is not finite, so the step was not taken and the last checkpoint stays good; "
        f"{seen}. {NOT_FINITE.advice}"
    )
    text = f"the gradient is not finite; {seen}"
    return SickRunError(message, NOT_FINITE.finding(Symptom(text, 1.0), step - 1, guilty or rows))


def stop_before_saving(step: int) -> SickRunError:
    """The error that ends a run whose weights are NaN or infinite, before they are written anywhere."""
    seen = "the weights are not finite"
    message = (
        f"step {step}: after it {seen}, so they were not saved and the last checkpoint stays good. {NOT_FINITE.advice}"
    )
    return SickRunError(message, NOT_FINITE.finding(Symptom(seen, 1.0), step))


def _is_finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())


def _listed(rows: Sequence[Origin]) -> str:
    more = f" and {len(rows) - _SHOWN_ROWS} more" if len(rows) > _SHOWN_ROWS else ""
    return ", ".join(map(str, rows[:_SHOWN_ROWS])) + more
