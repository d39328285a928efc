"""Which of several models no other one beats: higher in value and as close to the reference, or closer."""

from collections.abc import Sequence

__all__ = ["on_frontier"]


def on_frontier(kls: Sequence[float], values: Sequence[float]) -> list[bool]:
    """Whether each model is dominated by none: no other has at most its KL and at least its value, and one of both
    strictly.

    Args:
        kls: KL to the reference, lower is better. Shape: (model,).
        values: Higher is better. Shape: (model,).

    >>> on_frontier([1.0, 2.0, 3.0], [0.5, 0.8, 0.7])  # the third is farther and worse than the second
    [True, True, False]
    """
    return [
        not any(
            other_kl <= kl and other_value >= value and (other_kl < kl or other_value > value)
            for other_kl, other_value in zip(kls, values, strict=True)
        )
        for kl, value in zip(kls, values, strict=True)
    ]
