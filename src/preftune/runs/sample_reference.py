"""The reference that the KL of a run's samples is measured against."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from preftune.model.load.load_model import Policy, load_frozen
from preftune.model.reference.cached import Cached
from preftune.model.reference.reference import AdapterOff, FrozenCopy, NoReference, Reference
from preftune.settings import TrainConfig

__all__ = ["SampleReference"]

Load = Callable[[], PreTrainedModel | PeftModel]


@dataclass(frozen=True, slots=True, eq=False)
class SampleReference:
    """Gives the log-probs of new texts, which no table of the data's holds.

    Args:
        at_hand: What is in memory anyway; `NoReference` for nothing.
        load: Loads the model anew where nothing is at hand; None where that is not asked for.
    """

    at_hand: Reference
    load: Load | None = None

    @staticmethod
    def of(config: TrainConfig, policy: Policy, device: torch.device) -> "SampleReference":
        """What there is in a run: the method's reference, else the model as it was.

        Args:
            config: Of the run.
            policy: As it is trained, after its reference was cached, if it was.
            device: Where a model that is loaded is run.
        """
        if not isinstance(policy.reference, (Cached, NoReference)):
            return SampleReference(policy.reference)
        if policy.begins_as_base:
            return SampleReference(AdapterOff())
        if not (config.samples.eval_kl or config.choice.needs_kl):
            return SampleReference(NoReference())

        def load() -> PreTrainedModel | PeftModel:
            other = config.model.reference_model if config.method.needs_reference else None
            return load_frozen(config.model, device, other)

        return SampleReference(NoReference(), load)

    @contextmanager
    def held(self) -> Iterator[Reference]:
        """While this is on, the reference is in memory. `NoReference` where there is none to be had.

        Raises:
            ModelError: it cannot be loaded any more.
            torch.OutOfMemoryError: it does not fit beside the policy.
        """
        yield self.at_hand if self.load is None else FrozenCopy(self.load())
