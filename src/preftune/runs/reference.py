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
from preftune.runs.callbacks import WARNING
from preftune.settings import TrainConfig


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
    """Replace the reference by a table of its log-probs for all groups, computed unless the store has them.

    Dropping the given policy frees the reference model. An adapter that was kept as the reference is deleted from the
    model.

    Args:
        policy: On the device of training, not wrapped.
        per_token: Store the log-prob of each token instead of their sum.
    Returns:
        The policy with the table; unchanged for a method without a reference, and if the reference is sharded.
    Raises:
        ModelError: the ranks hold different weights.
    """
    if isinstance(policy.reference, NoReference):
        return policy
    if _is_sharded(policy, arguments):
        console.print("reference cache: not used, as the reference is sharded over processes", highlight=False)
        return policy
    store = OptionalStore(store_path(), lambda line: console.print(line, highlight=False, style=WARNING))
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
    """True if this process lacks weights of the reference: it is the policy, or ZeRO-3 shards every model."""
    if isinstance(policy.reference, FrozenCopy):
        return bool(is_deepspeed_zero3_enabled())
    return bool(arguments.fsdp or arguments.deepspeed)


Load = Callable[[], PreTrainedModel | PeftModel]


@dataclass(frozen=True, slots=True, eq=False)
class SampleReference:
    """Reference for new texts, for which no table of log-probs exists.

    Args:
        at_hand: The reference in memory; `NoReference` if there is none.
    """

    at_hand: Reference
    load: Load | None = None

    @staticmethod
    def of(config: TrainConfig, policy: Policy, device: torch.device) -> "SampleReference":
        """The reference of a run: that of the method, else the model before training."""
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
        """Context with the reference in memory; `NoReference` if there is none.

        Raises:
            ModelError: the model cannot be loaded any more.
            torch.OutOfMemoryError: it does not fit beside the policy.
        """
        yield self.at_hand if self.load is None else FrozenCopy(self.load())
