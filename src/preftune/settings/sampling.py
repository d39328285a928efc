"""How completions are drawn from a model."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from preftune.errors import ConfigError

__all__ = ["Sampling", "strength_problems"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """The settings of generation. The defaults sample from the model's own distribution.

    Args:
        max_new_tokens: Longest completion, in tokens.
        temperature: Divides the logits; 0: the likeliest token each time.
        top_p: Only the likeliest tokens that make up this share of probability; 1: all.
        top_k: Only so many of the likeliest tokens; 0: all.
        num_samples: Completions per prompt.
        seed: Of the draws.
    Raises:
        ConfigError: values out of their range, all at once.

    >>> Sampling(temperature=-1.0, top_p=0.0)
    Traceback (most recent call last):
    preftune.errors.ConfigError: 2 settings cannot work:
      - temperature = -1.0: must not be negative; 0 takes the likeliest token.
      - top_p = 0.0: is a share of probability and must be in (0, 1].
    """

    max_new_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    num_samples: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise ConfigError(problems)

    def _problems(self) -> Iterator[str]:
        if self.max_new_tokens < 1:
            yield f"max_new_tokens = {self.max_new_tokens}: must be at least 1."
        if not self.temperature >= 0:
            yield f"temperature = {self.temperature}: must not be negative; 0 takes the likeliest token."
        if not 0 < self.top_p <= 1:
            yield f"top_p = {self.top_p}: is a share of probability and must be in (0, 1]."
        if self.top_k < 0:
            yield f"top_k = {self.top_k}: must not be negative; 0 allows all tokens."
        if self.num_samples < 1:
            yield f"num_samples = {self.num_samples}: must be at least 1."
        if self.num_samples > 1 and self.temperature == 0:
            yield f"num_samples = {self.num_samples}: at temperature 0 all samples are the same. Raise the temperature."
        if self.seed < 0:
            yield f"seed = {self.seed}: must not be negative."


def strength_problems(strength: float) -> Iterator[str]:
    """What is wrong with a strength of realignment (see `Realignment`), one text each.

    >>> list(strength_problems(-0.5))
    ['strength = -0.5: must be at least 0; 0 is the reference, 1 the model, more goes beyond.']
    """
    if not (math.isfinite(strength) and strength >= 0):
        yield f"strength = {strength}: must be at least 0; 0 is the reference, 1 the model, more goes beyond."
