"""The pass before training that makes a table of reference log-probs: what is kept is looked up, the rest computed."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from peft import PeftModel
from transformers import PreTrainedModel

from preftune.data.progress import track
from preftune.data.token_group import TokenGroup
from preftune.errors import ModelError
from preftune.planning import GroupSize, plan_step, sizes_of
from preftune.policy.forward import Forward
from preftune.policy.packed_batch import pack
from preftune.reference.arithmetic import Arithmetic
from preftune.reference.cached import Cached
from preftune.reference.fingerprint import Fingerprint, fingerprint_reference
from preftune.reference.optional_store import OptionalStore
from preftune.reference.reference import Reference

__all__ = ["ReferencePass", "ReferencePassResult"]

_GROUPS_PER_PLAN = 256
"""For each rank. Planning takes the square of it; groups of one plan are of similar length."""


@dataclass(frozen=True, slots=True)
class ReferencePassResult:
    """What a pass found.

    Args:
        reference: The log-probs of all groups.
        num_kept: Completions whose log-prob was there already.
        num_computed: Completions that were run.
    """

    reference: Cached
    num_kept: int
    num_computed: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class ReferencePass:
    """Computes the log-probs of completions that are not kept yet, in micro-batches, and keeps each as it is done.

    Every rank calls it with the same groups. Only the main process touches the store: it hands out what is there, and
    writes what all ranks computed of a micro-batch each.

    Args:
        reference: One that computes log-probs.
        policy: The model in training, as `Reference.logps` takes it.
        forward: How log-probs are computed.
        arithmetic: How the model is run.
        max_tokens: Memory budget of a forward, in tokens of the forward's layout.
        show_progress: Whether to show a progress bar.
    """

    reference: Reference
    policy: PreTrainedModel | PeftModel
    forward: Forward
    arithmetic: Arithmetic
    max_tokens: int
    show_progress: bool = False

    def run(self, groups: Sequence[TokenGroup], store: OptionalStore) -> ReferencePassResult:
        """The log-probs of all completions of `groups`, each computed once over all runs that share the store.

        Raises:
            ModelError: the ranks hold different weights.
        """
        state = PartialState()
        model = self._fingerprint()
        keys = dict.fromkeys(key for group in groups for key in group.keys)
        (table,) = broadcast_object_list([store.read(model, keys) if state.is_main_process else {}])
        num_kept = len(table)
        rounds = self._rounds(_missing(groups, table), state.num_processes)
        for ranks in track(rounds, "reference log-probs", total=len(rounds), show=self.show_progress and bool(rounds)):
            for found in gather_object([self._compute(ranks[state.process_index])]):
                table.update(found)
                if state.is_main_process and found:
                    store.write(model, found)
        return ReferencePassResult(Cached(table), num_kept, len(table) - num_kept)

    def _fingerprint(self) -> Fingerprint:
        own = fingerprint_reference(self.reference, self.policy, arithmetic=self.arithmetic, layout=self.forward.layout)
        for rank, other in enumerate(gather_object([own])):
            if other.digest != own.digest:
                raise ModelError(
                    f"the reference of process {rank} is not the one of process {PartialState().process_index}: "
                    "weights, settings or versions differ, so their log-probs cannot be put together. Let all "
                    "processes load the same files, or leave the cache out with --no-reference-cache."
                )
        return own

    def _rounds(self, groups: Sequence[TokenGroup], num_ranks: int) -> list[tuple[list[TokenGroup], ...]]:
        """Micro-batches, one for each rank at a time; the biggest groups first, so that memory runs out early if at
        all."""
        sizes = sizes_of(groups)
        order = sorted(range(len(groups)), key=lambda index: -sizes[index].packed_tokens)
        chunk = _GROUPS_PER_PLAN * num_ranks
        return [
            tuple([groups[index] for index in micro_batch] for micro_batch in ranks)
            for start in range(0, len(order), chunk)
            for ranks in self._plan(order[start : start + chunk], sizes, num_ranks)
        ]

    def _plan(
        self, indices: Sequence[int], sizes: Sequence[GroupSize], num_ranks: int
    ) -> Iterator[tuple[tuple[int, ...], ...]]:
        plan = plan_step(indices, sizes, num_ranks=num_ranks, max_tokens=self.max_tokens, layout=self.forward.layout)
        return zip(*plan.ranks, strict=True)

    def _compute(self, groups: Sequence[TokenGroup]) -> dict[bytes, float]:
        if not groups:
            return {}
        batch = pack(groups).to(self.arithmetic.device)
        with self.arithmetic.context():
            logps = self.reference.logps(self.forward, self.policy, batch)
        assert logps is not None, "a method without a reference needs no pass"
        return dict(zip(batch.keys, logps.double().tolist(), strict=True))


def _missing(groups: Sequence[TokenGroup], known: Collection[bytes]) -> list[TokenGroup]:
    """What is left to do: the groups without completions that are known or come twice."""
    seen = set(known)
    left = []
    for group in groups:
        completions = {key: ids for key, ids in zip(group.keys, group.completions, strict=True) if key not in seen}
        if completions:
            seen.update(completions)
            left.append(replace(group, completions=tuple(completions.values()), pairs=()))
    return left
