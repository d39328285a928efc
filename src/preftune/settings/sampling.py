"""Settings of generation, and the strength of realignment."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from preftune.errors import ConfigError
from preftune.settings.setting import Section, setting


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling(Section):
    """Settings of generation. The defaults sample from the model's own distribution.

    Raises:
        ConfigError: Values out of their range, all at once.

    >>> Sampling(temperature=-1.0, top_p=0.0)
    Traceback (most recent call last):
    preftune.errors.ConfigError: 2 settings cannot work:
      - temperature = -1.0: must be at least 0, where 0 takes the most likely token.
      - top_p = 0.0: must be in (0, 1], as a share of probability.
    """

    title: ClassVar[str] = "Sampling"

    max_new_tokens: int = setting(256, "Maximum length of a completion, in tokens.", within="[1, inf)")
    temperature: float = setting(
        1.0,
        "Sampling temperature; 0: greedy decoding.",
        within="[0, inf)",
        because="where 0 takes the most likely token",
    )
    top_p: float = setting(
        1.0,
        "Sample from the most likely tokens with this total probability; 1: all tokens.",
        within="(0, 1]",
        because="as a share of probability",
    )
    top_k: int = setting(
        0,
        "Sample from this many of the most likely tokens; 0: all tokens.",
        within="[0, inf)",
        because="where 0 allows all tokens",
    )
    num_samples: int = setting(1, "Completions per prompt.", within="[1, inf)")
    seed: int = setting(0, "Random seed.", within="[0, inf)")

    def __post_init__(self) -> None:
        problems = list(self.problems())
        if problems:
            raise ConfigError(problems)

    def conflicts(self) -> Iterator[str]:
        """Messages about values that cannot work together."""
        if self.num_samples > 1 and self.temperature == 0:
            yield f"num_samples = {self.num_samples}: at temperature 0 all samples are the same. Raise the temperature."


def strength_problems(strength: float) -> Iterator[str]:
    """Messages about a strength of realignment (see `Realignment`) out of its range.

    >>> list(strength_problems(-0.5))
    ['strength = -0.5: must be at least 0; 0 is the reference, 1 the model, more extrapolates.']
    """
    if not (math.isfinite(strength) and strength >= 0):
        yield f"strength = {strength}: must be at least 0; 0 is the reference, 1 the model, more extrapolates."
