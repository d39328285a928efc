"""What losses remember from step to step, such as a running mean of rewards; kept in checkpoints."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState
from typing_extensions import override

from preftune.losses import Method
from preftune.training.step_values import StepValues

__all__ = ["LossStates"]


class LossStates(TrainerCallback, ExportableState):
    """A state per part of the method that keeps one. A callback, so that checkpoints hold it and resumed runs go on."""

    def __init__(self) -> None:
        self._states: dict[str, list[float]] = {}

    def of(self, method: Method, like: Tensor) -> Iterator[Tensor | None]:
        """The state of each part, or None for one without, on the device and in the dtype of `like`. Shape: (2,)."""
        for part in method.parts:
            state = self._states.get(part.name, [0.0, 0.0])
            yield None if part.loss.update is None else torch.tensor(state, dtype=like.dtype, device=like.device)

    def update(self, method: Method, values: StepValues) -> None:
        """Move on by one step, given the values of all of it."""
        with torch.no_grad():
            for part, state in zip(method.parts, self.of(method, values.policy), strict=True):
                if state is not None:
                    self._states[part.name] = part.updated(values.arguments(part, state=state)).tolist()

    def snapshot(self) -> Mapping[str, list[float]]:
        """The states as they are, for `restore`."""
        return dict(self._states)

    def restore(self, snapshot: Mapping[str, list[float]]) -> None:
        """Go back to an earlier `snapshot`."""
        self._states = dict(snapshot)

    @override
    def state(self) -> dict[str, Any]:
        """What checkpoints keep."""
        return {"args": {}, "attributes": {"_states": self._states}}

    @override
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        all_kept: Any = state.stateful_callbacks or {}
        kept = all_kept.get(type(self).__name__)
        self._states = dict(kept["attributes"]["_states"]) if state.global_step and kept else {}
