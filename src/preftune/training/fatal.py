"""Fatal states of a run: NaN or infinity, and a first loss that a policy equal to its reference does not have."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from preftune.groups import Origin
from preftune.losses import Method, Part, ReferencedLogps
from preftune.metrics.sums import MetricSums
from preftune.training.health.finding import SickRunError
from preftune.training.health.rule import ROUNDING, Symptom
from preftune.training.health.rules.loss import NOT_FINITE, START
from preftune.training.step_values import StepValues

_SHOWN_ROWS = 8


def all_finite(tensors: Iterable[Tensor]) -> Tensor:
    """True if all values of all tensors are finite, with a single synchronisation. Shape: (), bool.

    >>> all_finite([torch.ones(3), torch.tensor([1.0, float("nan")])]).item()
    False
    """
    found = [tensor for tensor in tensors if tensor.is_floating_point()]
    if not found:
        return torch.tensor(True)
    # After an evaluation FSDP keeps the outermost weights whole and the others sharded; no operation takes both.
    sharded = [tensor for tensor in found if isinstance(tensor, DTensor)]
    whole = [tensor for tensor in found if not isinstance(tensor, DTensor)]
    if sharded and whole:
        return all_finite(sharded) & all_finite(whole)
    norm = nn.utils.get_total_norm(found)
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()
    # The norm of finite values may overflow.
    return norm.isfinite() if bool(norm.isfinite()) else torch.tensor(all(bool(one.isfinite().all()) for one in found))


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


def _listed(rows: Sequence[Origin]) -> str:
    more = f" and {len(rows) - _SHOWN_ROWS} more" if len(rows) > _SHOWN_ROWS else ""
    return ", ".join(map(str, rows[:_SHOWN_ROWS])) + more


EXPECTED = "start/"
_SLACK = "start_slack/"
_RANDOM_WAYS, _SAFETY = 8, 2.0


def add_expected_loss(
    metrics: MetricSums,
    part: Part,
    values: StepValues,
    mismatched: ReferencedLogps | None,
    *,
    count: Tensor,
    weight: float,
) -> None:
    """Add the loss with the policy as its own reference, and the most that rounding may change it.

    Computed by the loss itself from the rows of the step, so that it holds for any method, data and options: ln 2 for
    `dpo`, less or more with margins, lengths or weights in the data. The slack is the most that the loss changes by
    when all log-probs go up or down by `ROUNDING`: each the way that matters most, or some ways at random for losses
    that jump where rewards are equal, such as `lipo_lambda` with its ranks.

    Args:
        part: The loss. A loss without a reference can begin anywhere, so nothing is added for it.
    """
    if not part.loss.needs_reference:
        return
    with torch.enable_grad():
        logps = values.policy.detach().requires_grad_()
        expected = _rows(part, values, logps, mismatched)
        (slopes,) = torch.autograd.grad(expected.sum(), logps)
    metrics.add(EXPECTED + part.name, expected, count=count, weight=weight)
    push = ROUNDING * (1 + logps.detach().abs())
    ways = [slopes.sign(), -slopes.sign(), *_random_signs(slopes)]
    changes = [(_rows(part, values, logps.detach() + way * push, mismatched) - expected).sum() for way in ways]
    metrics.add(_SLACK + part.name, torch.stack(changes).abs().max(), count=count, weight=weight)


def check_start(method: Method, means: Mapping[str, float]) -> None:
    """Check the metrics of the first step, taken before the first update, when the policy still is its reference.

    Args:
        means: Metrics of the whole step, with those of `add_expected_loss`.
    """
    for part in method.parts:
        if EXPECTED + part.name in means:
            _check_loss(part, means, name=f"loss/{part.name}" if len(method.parts) > 1 else "loss")
    part_shown = method.rewarding
    if part_shown is not None and part_shown.loss.reward == "logratio" and "rewards/chosen" in means:
        reward, logps = means["rewards/chosen"], means["logps/chosen"]
        if abs(reward) > ROUNDING * (1 + abs(logps)) * part_shown.reward_scale:
            _stop(f"the implicit reward of the chosen answers is {reward:.4f}, but must be 0", abs(reward))


def without_start(metrics: MetricSums) -> MetricSums:
    """The metrics without those of `add_expected_loss`."""
    return MetricSums({name: sums for name, sums in metrics.sums.items() if not name.startswith((EXPECTED, _SLACK))})


def _check_loss(part: Part, means: Mapping[str, float], *, name: str) -> None:
    loss, expected = means[name], means[EXPECTED + part.name]
    slack = _SAFETY * means[_SLACK + part.name] + 1e-5 * (1 + abs(expected))
    if abs(loss - expected) > slack:
        _stop(f"the loss of {part.name} is {loss:.4f}, but must be {expected:.4f}", abs(loss - expected) / slack)


def _stop(seen: str, size: float) -> None:
    message = (
        f"before the first update {seen}: policy and reference give different log-probs for the same weights. Some "
        "part of the model does not repeat itself, such as dropout that is still on or kernels that round "
        f"differently. {START.advice}"
    )
    raise SickRunError(message, START.finding(Symptom(seen, size), 0))


def _random_signs(like: Tensor) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(_RANDOM_WAYS):
        yield torch.randint(0, 2, like.shape, generator=generator).to(like) * 2 - 1


def _rows(part: Part, values: StepValues, logps: Tensor, mismatched: ReferencedLogps | None) -> Tensor:
    """Weighted loss per row where the policy's log-probs are `logps` and the reference's are those of the policy."""
    same = values.at_reference(logps)
    if mismatched is not None:
        mismatched = replace(mismatched, reference=mismatched.policy)
    state = None
    if part.loss.update is not None:
        state = part.updated(same.arguments(part, mismatched=mismatched, state=logps.new_zeros(2)))
    rows = part(*same.arguments(part, mismatched=mismatched, state=state).values())
    return rows * values.row_weights(part.loss).to(rows.dtype)
