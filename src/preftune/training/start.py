"""Fatal: the first loss is not what the method gives for a policy that is its reference."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from preftune.losses import Method, Part, ReferencedLogps
from preftune.metrics.sums import MetricSums
from preftune.training.health.finding import SickRunError
from preftune.training.health.rule import ROUNDING, Symptom
from preftune.training.health.rules.loss import START
from preftune.training.step_values import StepValues

__all__ = ["EXPECTED", "add_expected_loss", "check_start", "without_start"]

EXPECTED = "start/"
_SLACK = "start_slack/"
_RANDOM_WAYS, _SAFETY = 8, 2.0


def add_expected_loss(
    metrics: MetricSums,
    part: Part,
    values: StepValues,
    mismatched: ReferencedLogps | None,
    *,
    count: float,
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
    Raises:
        SickRunError: a loss or an implicit reward is off.
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
    """Loss per row where the policy's log-probs are `logps` and the reference's are those of the policy."""
    same = values.at_reference(logps)
    if mismatched is not None:
        mismatched = replace(mismatched, reference=mismatched.policy)
    state = None
    if part.loss.update is not None:
        state = part.updated(same.arguments(part, mismatched=mismatched, state=logps.new_zeros(2)))
    return part(*same.arguments(part, mismatched=mismatched, state=state).values())
