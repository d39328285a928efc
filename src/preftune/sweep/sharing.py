"""Which points share their reference, and why others cannot."""

from collections.abc import Iterator, Sequence

from preftune.settings import TrainConfig
from preftune.settings.space import Point

__all__ = ["sharing_notes"]


def sharing_notes(points: Sequence[Point]) -> Iterator[str]:
    """Lines on whether reference log-probs are computed once for all points.

    Args:
        points: All of a grid, or examples of a search.
    """
    sharing = []
    whys: dict[str, list[str]] = {}
    for point in points:
        why = _why_not(point.config)
        if why is None:
            sharing.append(point)
        else:
            whys.setdefault(why, []).append(point.name)
    for why, names in whys.items():
        yield f"reference: not shared by {_some(names)}, {why}"
    references = {_reference(point.config) for point in sharing}
    if len(references) > 1:
        yield f"reference: points have {len(references)} different ones; log-probs are computed once for each"
    elif sharing:
        yield "reference: the same for all points that keep its log-probs, so each is computed once"


def _why_not(config: TrainConfig) -> str | None:
    """Why a run shares no reference log-probs with others; None if it does."""
    return config.model.why_reference_is_not_cached(config.method)


def _reference(config: TrainConfig) -> tuple[object, ...]:
    """What decides which log-probs a reference gives."""
    model = config.model
    name = model.reference_model or model.model
    return name, model.revision, model.weights_dtype, model.precision, model.attention


def _some(names: Sequence[str]) -> str:
    """A few names.

    >>> _some(["a", "b", "c", "d"])
    'a, b and 2 more'
    """
    return ", ".join(names) if len(names) < 4 else f"{names[0]}, {names[1]} and {len(names) - 2} more"
