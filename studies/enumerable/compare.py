"""Final policies of the methods of the table."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from preftune.losses import Feedback as Kind
from preftune.losses import Part, find_loss, loss_options
from preftune.losses.method import Method
from studies.enumerable.feedback import Demonstrations, Feedback, Lists, Pairs, Policy, Thumbs
from studies.enumerable.fit import fit
from studies.enumerable.world import World, total_variation

__all__ = ["EQUAL_PARTS", "NUM_STEPS", "Outcome", "method_in", "outcomes"]

NUM_STEPS = 2_000
EQUAL_PARTS = 3_000
"""Rows that a loss is given which compares rows with each other, and so cannot have them weighted."""
_MOVED, _VANISHED = 1e-3, math.log(1e-6)

End = Literal["at rest", "runs to infinity", "still moving"]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """The final policy of a method.

    Args:
        method: Its name.
        feedback: Name of the feedback.
        policy: Log-probs, or None if the world cannot give the method what it needs. Shape: (prompt, completion).
        end: Kind of the end, or the reason why the method was left out.
    """

    method: str
    feedback: str
    policy: Tensor | None
    end: End | str


def method_in(world: World, name: str) -> Part:
    """A loss of the table at its default options, with the world's beta if it has one."""
    has_beta = any(option.name == "beta" for option in loss_options(find_loss(name)))
    (part,) = Method.named(name, {"beta": world.beta} if has_beta else {}).parts
    return part


def outcomes(part: Part, world: World, *, num_steps: int = NUM_STEPS) -> Iterator[Outcome]:
    """Final policies of a method, for each feedback of the world that it can learn from.

    It is trained twice, with `num_steps` and with half as many. It is at rest if that makes a total variation of less
    than 0.001, and runs to infinity if a completion is a million times less likely than under the reference.
    """
    for label, feedback in _feedback(part, world).items():
        reason = _cannot(part, feedback, world)
        if reason is not None:
            yield Outcome(part.name, label, None, reason)
            continue
        rows = _equally_likely(feedback) if part.loss.across_rows else feedback
        early, late = (fit(part, rows, world, num_steps=steps) for steps in (num_steps // 2, num_steps))
        yield Outcome(part.name, label, late, _end(early, late, world))


def _feedback(part: Part, world: World) -> Mapping[str, Feedback]:
    by_score = part.loss.needs("margins")
    kinds: Mapping[Kind, Mapping[str, Feedback]] = {
        "pairs": {"pairs by score" if by_score else "pairs": Pairs.of(world, by_score=by_score)},
        "thumbs": {"thumbs": Thumbs.of(world)},
        "lists": {"orders of 3": Lists.of_orders(world), "scores of all": Lists.of_scores(world)},
        "demonstrations": {"demonstrations": Demonstrations.of(world)},
    }
    return kinds[part.loss.feedback]


def _equally_likely(feedback: Feedback) -> Feedback:
    assert isinstance(feedback, (Pairs, Thumbs)), "other rows have been left out"
    return feedback.in_equal_parts(EQUAL_PARTS)


def _cannot(part: Part, feedback: Feedback, world: World) -> str | None:
    given = feedback.arguments(Policy(world, world.reference, with_reference=part.loss.needs_reference))
    missing = [name for name in part.loss.takes if name not in given and name != "state"]
    if missing:
        return f"left out: a table of logits has no {', '.join(missing)}"
    if part.loss.across_rows and not isinstance(feedback, (Pairs, Thumbs)):
        return "left out: it compares rows, which have unequal probabilities here"
    return None


def _end(early: Tensor, late: Tensor, world: World) -> End:
    if (late - world.reference).min() < _VANISHED:
        return "runs to infinity"
    return "still moving" if total_variation(early, late) > _MOVED else "at rest"
