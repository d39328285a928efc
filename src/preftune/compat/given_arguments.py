"""One checked `DPOConfig` out of the arguments that a user hands over, and what the trainer makes of it."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from preftune.compat.dpo_config import DPOConfig
from preftune.compat.given_model import Model, model_name
from preftune.errors import ConfigError

__all__ = ["given_config", "step_by_step"]


def given_config(
    args: TrainingArguments | None, settings: Mapping[str, Any], model: str | Model, problems: list[str]
) -> DPOConfig:
    """The config of a run.

    Args:
        args: A `DPOConfig`, plain arguments of transformers, or None.
        settings: Fields of `DPOConfig` by name.
        model: Gives the output folder its name where there are no `args`.
        problems: What else cannot work; raised together with what is found here.
    Raises:
        ConfigError: whatever cannot work.
    """
    problems = [*problems, *_problems(args, settings)]
    if problems:
        raise ConfigError(problems)
    if isinstance(args, DPOConfig):
        args.check()  # fields may have been set since it was made
        return args
    if args is not None:
        return DPOConfig.of(args, settings)
    name = Path(model_name(model)).name or type(model).__name__
    return DPOConfig(**{"output_dir": f"{name}-DPO", **settings})


def step_by_step(config: DPOConfig) -> DPOConfig:
    """The arguments for a trainer that is given whole steps. A copy: the config stays as it is, and its devices too."""
    args = copy.copy(config)
    args.per_device_train_batch_size = 1
    args.gradient_accumulation_steps = 1
    return args


def _problems(args: TrainingArguments | None, settings: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(args, DPOConfig):
        for name, value in settings.items():
            yield f"{name} = {value!r}: args is a DPOConfig, which says such things. Set {name} there."
        return
    known = {item.name for item in fields(DPOConfig)}
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            yield f"{name}: not an argument that is supported." + (f" Did you mean {near[0]}?" if near else "")
