"""The pass before training that makes a table of reference log-probs: what is kept is looked up, the rest computed."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar, final

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from preftune.data.progress import track
from preftune.data.tokens.token_group import TokenGroup
from preftune.errors import ModelError
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.forward import Forward
from preftune.model.forward.packed_batch import PackedBatch, pack
from preftune.model.reference.cached import Cached
from preftune.model.reference.fingerprint import Fingerprint, fingerprint_reference
from preftune.model.reference.reference import Reference
from preftune.model.reference.store import LogpStore, OptionalStore, TokenArray, sum_of
from preftune.planning.sizes import GroupSize, sizes_of
from preftune.planning.step import plan_step

Value = TypeVar("Value", float, TokenArray)
"""Value stored for a completion."""

_GROUPS_PER_PLAN = 256
"""For each rank. Planning takes the square of it; groups of one plan are of similar length."""


@dataclass(frozen=True, slots=True)
class ReferencePassResult:
    """Result of a pass.

    Args:
        reference: The log-probs of all groups, those per token too if they were asked for.
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
        forward: Computes the log-probs.
        arithmetic: Device and precision.
        max_tokens: Memory budget of a forward, in tokens of the forward's layout.
        show_progress: Show a progress bar.
    """

    reference: Reference
    policy: PreTrainedModel | PeftModel
    forward: Forward
    arithmetic: Arithmetic
    max_tokens: int
    show_progress: bool = False

    def run(
        self, groups: Sequence[TokenGroup], store: OptionalStore, *, per_token: bool = False
    ) -> ReferencePassResult:
        """The log-probs of all completions of `groups`, each computed once over all runs that share the store.

        Args:
            groups: All that the run will see.
            store: The cache.
            per_token: Compute each token's log-prob, not only their sum. A stored sum is of no use then; stored values
                per token serve both.
        Raises:
            ModelError: the ranks hold different weights.
        """
        if not per_token:
            table, num_kept = self._table(groups, store, LogpStore.read, LogpStore.write, self._logps)
            return ReferencePassResult(Cached(table), num_kept, len(table) - num_kept)
        token_table, num_kept = self._table(
            groups, store, LogpStore.read_tokens, LogpStore.write_tokens, self._token_logps
        )
        sums = {key: sum_of(logps) for key, logps in token_table.items()}
        return ReferencePassResult(Cached(sums, token_table), num_kept, len(token_table) - num_kept)

    def _table(
        self,
        groups: Sequence[TokenGroup],
        store: OptionalStore,
        read: Callable[[LogpStore, Fingerprint, Iterable[bytes]], dict[bytes, Value]],
        write: Callable[[LogpStore, Fingerprint, Mapping[bytes, Value]], None],
        compute: Callable[[PackedBatch], Sequence[Value]],
    ) -> tuple[dict[bytes, Value], int]:
        """The values of all completions, and how many of them were kept."""
        state = PartialState()
        model = self._fingerprint()
        keys = dict.fromkeys(key for group in groups for key in group.keys)

        def keep(values: Mapping[bytes, Value]) -> None:
            store.attempt(lambda opened: write(opened, model, values), otherwise=None)

        found_in_store: dict[bytes, Value] = {}
        if state.is_main_process:
            found_in_store = store.attempt(lambda opened: read(opened, model, keys), otherwise={})
        (table,) = broadcast_object_list([found_in_store])
        num_kept = len(table)
        rounds = self._rounds(_missing(groups, table), state.num_processes)
        for ranks in track(rounds, "reference log-probs", total=len(rounds), show=self.show_progress and bool(rounds)):
            for found in gather_object([self._compute(ranks[state.process_index], compute)]):
                table.update(found)
                if state.is_main_process and found:
                    keep(found)
        report_pass(num_computed=len(table) - num_kept, num_kept=num_kept)
        return table, num_kept

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

    def _compute(
        self, groups: Sequence[TokenGroup], compute: Callable[[PackedBatch], Sequence[Value]]
    ) -> dict[bytes, Value]:
        if not groups:
            return {}
        batch = pack(groups).to(self.arithmetic.device)
        with self.arithmetic.context():
            return dict(zip(batch.keys, compute(batch), strict=True))

    def _logps(self, batch: PackedBatch) -> list[float]:
        found: list[float] = _known(self.reference.logps(self.forward, self.policy, batch)).double().tolist()
        return found

    def _token_logps(self, batch: PackedBatch) -> list[TokenArray]:
        found = _known(self.reference.token_logps(self.forward, self.policy, batch)).cpu()
        return [logps.numpy() for logps in found.split(batch.num_tokens.tolist())]


def _known(logps: Tensor | None) -> Tensor:
    assert logps is not None, "a method without a reference needs no pass"
    return logps


def _missing(groups: Sequence[TokenGroup], known: Collection[bytes]) -> list[TokenGroup]:
    """The groups without completions that are known or repeated."""
    seen = set(known)
    left = []
    for group in groups:
        completions = {key: ids for key, ids in zip(group.keys, group.completions, strict=True) if key not in seen}
        if completions:
            seen.update(completions)
            left.append(group.behind_prompt(list(completions.values())))
    return left


@dataclass(slots=True)
class PassCount:
    """Completions that reference passes computed and found in the cache.

    Args:
        num_computed: Completions that were run.
        num_kept: Completions whose log-prob was there already.
    """

    num_computed: int = 0
    num_kept: int = 0


_counts: ContextVar[tuple[PassCount, ...]] = ContextVar("counts", default=())


@contextmanager
def count_passes() -> Iterator[PassCount]:
    """Count the passes inside the block, those inside an inner block too.

    >>> with count_passes() as outer:
    ...     with count_passes() as inner:
    ...         report_pass(num_computed=3, num_kept=1)
    ...     report_pass(num_computed=0, num_kept=4)
    >>> outer, inner
    (PassCount(num_computed=3, num_kept=5), PassCount(num_computed=3, num_kept=1))
    """
    count = PassCount()
    token = _counts.set((*_counts.get(), count))
    try:
        yield count
    finally:
        _counts.reset(token)


def report_pass(*, num_computed: int, num_kept: int) -> None:
    """Add a pass to the counts of all enclosing `count_passes`."""
    for count in _counts.get():
        count.num_computed += num_computed
        count.num_kept += num_kept
