"""The mixture of a run's data: what an epoch holds of each source, and what the run ever sees."""

import math
from collections.abc import Sequence

from preftune.data import LoadedGroups
from preftune.data.mixture import Mixture
from preftune.data.tokens.token_group import TokenGroup
from preftune.errors import DataError
from preftune.groups import Origin
from preftune.settings import DataSettings, StepSettings

__all__ = ["drawn_in", "mix_lines", "mixture_of"]


def mixture_of(
    settings: DataSettings, loaded: LoadedGroups, groups: Sequence[TokenGroup], *, seed: int
) -> Mixture | None:
    """The mixture that the settings ask for; None where they ask for all of each source.

    Args:
        settings: With the weights of the sources.
        loaded: What was read of them.
        groups: What is left of it to learn from.
        seed: Of the draws.
    Raises:
        ConfigError: a source that would have no prompt in an epoch.
        DataError: a row that is in two of the sources.
    """
    if not settings.mix:
        return None
    sources = _sources_by_origin(settings.data, loaded)
    members: list[list[int]] = [[] for _ in settings.data]
    for index, group in enumerate(groups):
        members[sources[group.origin]].append(index)
    return Mixture.of(members, settings.mix, settings.data, num_groups=settings.prompts_per_epoch, seed=seed)


def mix_lines(settings: DataSettings, mixture: Mixture | None) -> tuple[str, ...]:
    """How much of each source an epoch holds, a line for each."""
    if mixture is None:
        return ()
    return tuple(
        f"{name}: {count:,} of {size:,} prompts per epoch"
        for name, count, size in zip(settings.data, mixture.counts, mixture.sizes, strict=True)
    )


def drawn_in(mixture: Mixture | None, steps: StepSettings, num_groups: int) -> Sequence[int]:
    """Indices of the groups that any epoch of the run holds, or may hold."""
    if mixture is None:
        return range(num_groups)
    epochs = steps.epochs
    if steps.max_steps is not None:  # a group counts at least 1, so an epoch has at least so many steps
        epochs = steps.max_steps / math.ceil(sum(mixture.counts) / steps.batch_size)
    return sorted({index for epoch in range(math.ceil(epochs)) for index in mixture.draw(epoch)})


def _sources_by_origin(names: Sequence[str], loaded: LoadedGroups) -> dict[Origin, int]:
    found: dict[Origin, int] = {}
    start = 0
    for source, number in enumerate(loaded.num_by_source):
        for group in loaded.groups[start : start + number]:
            if found.setdefault(group.origin, source) != source:
                raise DataError(
                    f"{group.origin}: the row is in {names[found[group.origin]]} and in {names[source]}, so its weight "
                    "in the mix is not clear. Name each file in one data source only."
                )
        start += number
    return found
