"""Tables of pairs with given margins."""

from collections.abc import Sequence

import numpy as np

from preftune.evaluation.pairs import PairTable

__all__ = ["pair_table"]


def pair_table(
    margins: Sequence[float],
    *,
    length_difference: Sequence[int] | None = None,
    data_margin: Sequence[float] | None = None,
    sources: Sequence[str] | None = None,
) -> PairTable:
    """A pair for each margin, each of a prompt of its own."""
    values = np.array(margins, dtype=np.float64)
    count = len(values)
    return PairTable(
        prompts=np.arange(count),
        chosen_reward=values,
        rejected_reward=np.zeros(count),
        is_right=np.where(values == 0, 0.5, values > 0),
        length_difference=np.array(length_difference or [0] * count),
        data_margin=np.full(count, np.nan) if data_margin is None else np.array(data_margin, dtype=np.float64),
        sources=np.array(sources or ["file"] * count),
    )
