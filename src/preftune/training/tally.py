"""Counts of a run so far. Checkpoints hold them, so that a resumed run goes on with them."""

import time
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState
from typing_extensions import override

from preftune.metrics.sums import MetricSums


def kept_state(callback: ExportableState, state: TrainerState) -> Mapping[str, Any] | None:
    """Attributes of a callback in the checkpoint that a run goes on from; None in a new run.

    Also None for the checkpoint of a version that kept nothing of it; further checkpoints will.
    """
    kept: Any = state.stateful_callbacks
    attributes = kept.setdefault(type(callback).__name__, callback.state())["attributes"]
    return attributes if state.global_step else None


@final
class Tally(TrainerCallback, ExportableState):
    """Counts of this rank, and times.

    Those of a checkpoint are over all ranks. The first rank of a resumed run goes on with them, the others with zeros.

    Args:
        device: Device of the sums.

    `sums` are the metrics of the steps since the last log. `num_tokens` were learned from in the whole run,
    `recent_tokens` and `recent_seconds` since the last log; evaluating and saving do not count.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._reset()

    def _reset(self) -> None:
        self.sums = MetricSums()
        self.num_tokens = 0
        self._recent_loss = torch.zeros((), device=self._device)
        self._logged_loss = 0.0
        self._logged_step = 0
        self._earlier_seconds = 0.0
        self._resumed_at = time.perf_counter()
        self._kept: Mapping[str, Any] = {}
        self._reset_recent()

    def _reset_recent(self) -> None:
        self.recent_tokens = 0
        self.recent_seconds = 0.0

    @property
    def earlier_seconds(self) -> float:
        """Seconds of training that went into the checkpoint which the run was resumed from."""
        return self._earlier_seconds

    def learned(self, loss: Tensor, num_tokens: int) -> None:
        """Count a step.

        Args:
            loss: Shape: (), float32.
            num_tokens: Of this rank.
        """
        self._recent_loss += loss
        self.num_tokens += num_tokens
        self.recent_tokens += num_tokens

    def logged(self, step: int, mean_over_ranks: Callable[[Tensor], float]) -> float:
        """Mean loss of the steps since the last log, which ends with this one."""
        loss = mean_over_ranks(self._recent_loss)
        num_steps = step - self._logged_step
        self._logged_loss += loss
        self._logged_step = step
        self._recent_loss = torch.zeros_like(self._recent_loss)
        self.sums = MetricSums()
        self._reset_recent()
        return loss / max(num_steps, 1)

    def mean_loss(self, step: int, mean_over_ranks: Callable[[Tensor], float]) -> float:
        """Mean loss of all steps of the run."""
        return (self._logged_loss + mean_over_ranks(self._recent_loss)) / max(step, 1)

    def gather(
        self, sums_over_ranks: Callable[[MetricSums], MetricSums], mean_over_ranks: Callable[[Tensor], float]
    ) -> None:
        """Add up the counts of all ranks for the next checkpoint. Every rank calls it."""
        tokens = torch.tensor([float(self.num_tokens), 1.0], dtype=torch.float64, device=self._device)
        found = sums_over_ranks(MetricSums({**self.sums.sums, "": tokens})).sums
        self._kept = {
            "num_tokens": int(found.pop("")[0]),
            "sums": {name: total.tolist() for name, total in found.items()},
            "recent_loss": mean_over_ranks(self._recent_loss),
            "logged_loss": self._logged_loss,
            "logged_step": self._logged_step,
            "seconds": self._earlier_seconds + time.perf_counter() - self._resumed_at,
        }

    @override
    def state(self) -> dict[str, Any]:
        """Content for checkpoints."""
        return {"args": {}, "attributes": dict(self._kept)}

    @override
    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._reset()
        kept = kept_state(self, state)
        self._logged_step = state.global_step
        if not kept:
            return
        share = float(state.is_world_process_zero)
        self.num_tokens = int(kept["num_tokens"] * share)
        sums = {name: torch.tensor(total, dtype=torch.float64) * share for name, total in kept["sums"].items()}
        self.sums = MetricSums({name: total.to(self._device) for name, total in sums.items()})
        self._recent_loss += kept["recent_loss"]
        self._logged_loss, self._logged_step = kept["logged_loss"], kept["logged_step"]
        self._earlier_seconds = kept["seconds"]

    @override
    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._began = time.perf_counter()

    @override
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.recent_seconds += time.perf_counter() - self._began
