"""References of a run: a table of log-probs for training, a model for the KL of samples."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from peft import PeftModel
from rich.console import Console
from transformers import PreTrainedModel, TrainingArguments
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from preftune.data.tokens.token_group import TokenGroup
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.forward import Forward
from preftune.model.load.load_model import Policy, load_frozen
from preftune.model.reference.cached import Cached
from preftune.model.reference.reference import AdapterOff, FrozenCopy, KeptAdapter, NoReference, Reference
from preftune.model.reference.reference_pass import ReferencePass
from preftune.model.reference.store import OptionalStore, store_path
from preftune.settings import TrainConfig

__all__ = ["SampleReference", "cache_reference"]


def cache_reference(
    policy: Policy,
    forward: Forward,
    groups: Sequence[TokenGroup],
    arguments: TrainingArguments,
    *,
    max_tokens: int,
    console: Console,
    per_token: bool = False,
) -> Policy:
    """The policy with the reference log-probs of all groups at hand, computed where they were not kept.

    Whoever drops the policy that was given frees the reference model with it. An adapter that was kept as the
    reference is deleted from the model.

    Args:
        policy: On the device of training, not wrapped.
        forward: How log-probs are computed.
        groups: All that the run will see, held-out ones too.
        arguments: Say device and precision.
        max_tokens: Memory budget of a forward.
        console: Where progress goes.
        per_token: Whether the loss needs the log-prob of each token, not just their sum.
    Returns:
        The policy as it is for a method without a reference, and where the reference is a part of a sharded model.
    Raises:
        ModelError: the ranks hold different weights.
    """
    if isinstance(policy.reference, NoReference):
        return policy
    if _is_sharded(policy, arguments):
        console.print("reference cache: not used, as the reference is sharded over processes", highlight=False)
        return policy
    store = OptionalStore(store_path(), lambda line: console.print(line, highlight=False, style="yellow"))
    found = ReferencePass(
        policy.reference,
        policy.model,
        forward,
        Arithmetic.of_arguments(arguments),
        max_tokens,
        show_progress=console.is_terminal and not console.quiet,
    ).run(groups, store, per_token=per_token)
    store.close()
    console.print(
        f"reference: {found.num_computed:,} log-probs computed, {found.num_kept:,} kept from earlier", highlight=False
    )
    if isinstance(policy.reference, KeptAdapter):
        assert isinstance(policy.model, PeftModel), type(policy.model).__name__
        policy.model.delete_adapter(policy.reference.kept)
    return replace(policy, reference=found.reference)


def _is_sharded(policy: Policy, arguments: TrainingArguments) -> bool:
    """Whether the reference's weights are not all at hand: it is the policy, or ZeRO-3 deals out every model."""
    if isinstance(policy.reference, FrozenCopy):
        return bool(is_deepspeed_zero3_enabled())
    return bool(arguments.fsdp or arguments.deepspeed)


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
