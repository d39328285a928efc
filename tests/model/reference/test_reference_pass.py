import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from preftune.data.tokens.token_group import TokenGroup
from preftune.model.forward.arithmetic import Arithmetic
from preftune.model.forward.forward import Forward, completion_logps
from preftune.model.forward.head.token_values import Distributions, TokenExtra, TokenValues
from preftune.model.forward.packed import PackedForward
from preftune.model.forward.packed_batch import PackedBatch, pack
from preftune.model.forward.sequences import SequencesForward
from preftune.model.reference.reference import FrozenCopy
from preftune.model.reference.reference_pass import ReferencePass, ReferencePassResult
from preftune.model.reference.store import LogpStore, OptionalStore
from preftune.planning.sizes import Layout
from tests.builders import tiny_llama, token_groups
from tests.two_ranks import run_two_ranks


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """A forward that notes how many completions each call was for, and breaks off after some calls."""

    forward: Forward = field(default_factory=PackedForward)
    calls: list[int] = field(default_factory=list)
    breaks_after: int = 10**9

    @property
    def layout(self) -> Layout:
        return self.forward.layout

    def token_logps(self, model: nn.Module, batch: PackedBatch) -> Tensor:
        if len(self.calls) == self.breaks_after:
            raise KeyboardInterrupt
        self.calls.append(batch.num_completions)
        return self.forward.token_logps(model, batch)

    def token_values(
        self,
        model: nn.Module,
        batch: PackedBatch,
        *,
        extras: frozenset[TokenExtra] = frozenset(),
        reference: Distributions | None = None,
    ) -> TokenValues:
        raise NotImplementedError

    def distributions(self, model: nn.Module, batch: PackedBatch) -> Distributions:
        raise NotImplementedError


def run(
    model: nn.Module,
    groups: Sequence[TokenGroup],
    path: Path,
    forward: Forward,
    *,
    max_tokens: int = 100,
    per_token: bool = False,
) -> ReferencePassResult:
    """A pass with a store of its own, as a new process would have it."""
    reference = FrozenCopy(copy.deepcopy(model).eval())  # type: ignore[arg-type]
    store = OptionalStore(path, pytest.fail)
    found = ReferencePass(reference, reference.model, forward, Arithmetic(torch.device("cpu")), max_tokens).run(
        groups, store, per_token=per_token
    )
    store.close()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logps.sqlite"


def test_it_gives_the_log_probs_of_the_model_itself(path: Path) -> None:
    model, groups = tiny_llama().double().eval(), token_groups(20, completions=3)
    expected = completion_logps(SequencesForward(), model, pack(groups))
    for layout in (PackedForward(), SequencesForward()):
        found = run(model, groups, path, layout).reference.logps(layout, model, pack(groups))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_values_from_the_file_are_bit_by_bit_those_that_were_computed(path: Path) -> None:
    model, groups = tiny_llama(), token_groups(10)
    computed = run(model, groups, path, PackedForward()).reference
    looked_up = run(model, groups, path, PackedForward()).reference
    assert looked_up.table == computed.table


def test_a_second_pass_costs_nothing_and_a_grown_file_only_what_is_new(path: Path) -> None:
    model, groups = tiny_llama(), token_groups(12)
    first, second, grown = Counted(), Counted(), Counted()
    run(model, groups[:8], path, first)
    assert sum(first.calls) == 16
    assert len(first.calls) > 1
    found = run(model, groups[:8], path, second)
    assert (second.calls, found.num_kept, found.num_computed) == ([], 16, 0)
    found = run(model, groups, path, grown)
    assert (sum(grown.calls), found.num_kept, found.num_computed) == (8, 16, 8)


def test_values_per_token_are_those_of_the_model_and_come_back_bit_by_bit(path: Path) -> None:
    model, groups = tiny_llama().eval(), token_groups(12, completions=3)
    batch, counted = pack(groups), Counted()
    computed = run(model, groups, path, PackedForward(), per_token=True)
    looked_up = run(model, groups, path, counted, per_token=True)
    assert (computed.num_kept, computed.num_computed) == (0, 36)
    assert (looked_up.num_kept, looked_up.num_computed, counted.calls) == (36, 0, [])
    first, second = (found.reference.token_logps(PackedForward(), model, batch) for found in (computed, looked_up))
    assert torch.equal(first, second)
    torch.testing.assert_close(first, SequencesForward().token_logps(model, batch).detach())
    assert computed.reference.table == looked_up.reference.table
    sums = computed.reference.logps(PackedForward(), model, batch)
    torch.testing.assert_close(sums, batch.sum_by_completion(first), rtol=1e-15, atol=0)


def test_float64_stays_float64_per_token(path: Path) -> None:
    model, groups = tiny_llama().double().eval(), token_groups(3)
    for _ in range(2):
        found = run(model, groups, path, PackedForward(), per_token=True).reference
        logps = found.token_logps(PackedForward(), model, pack(groups))
        assert logps.dtype == torch.float64
        torch.testing.assert_close(logps, SequencesForward().token_logps(model, pack(groups)), rtol=1e-12, atol=1e-12)


def test_sums_after_values_per_token_cost_nothing_and_values_per_token_after_sums_all(path: Path) -> None:
    model, groups = tiny_llama(), token_groups(9)
    sums_first, tokens_later, sums_later = Counted(), Counted(), Counted()
    run(model, groups[:4], path, sums_first)
    found = run(model, groups, path, tokens_later, per_token=True)
    assert (sum(sums_first.calls), sum(tokens_later.calls), found.num_kept) == (8, 18, 0)
    found = run(model, groups, path, sums_later)
    assert (sums_later.calls, found.num_kept, found.num_computed) == ([], 18, 0)
    assert found.reference.token_table is None


def test_groups_that_share_a_completion_run_it_once_per_token(path: Path) -> None:
    model, (group,) = tiny_llama(), token_groups(1, completions=3)
    counted = Counted()
    alone = replace(group, completions=group.completions[1:2], pairs=())
    found = run(model, [group, alone, group], path, counted, per_token=True)
    assert (counted.calls, found.num_computed) == ([3], 3)
    batch = pack([alone, group])
    expected = PackedForward().token_logps(model, batch).detach()
    torch.testing.assert_close(found.reference.token_logps(PackedForward(), model, batch), expected)


def test_a_completion_that_comes_twice_or_is_known_is_not_run_again(path: Path) -> None:
    model, (group,) = tiny_llama(), token_groups(1, completions=3)
    counted = Counted()
    alone = replace(group, completions=group.completions[1:2], pairs=())
    run(model, [alone, alone], path, counted)
    run(model, [group, alone, group], path, counted)
    assert counted.calls == [1, 2]


def test_micro_batches_stay_in_the_budget(path: Path) -> None:
    sizes: list[int] = []

    class Measured(Counted):
        def token_logps(self, model: nn.Module, batch: PackedBatch) -> Tensor:
            sizes.append(len(batch.token_ids))
            return self.forward.token_logps(model, batch)

    run(tiny_llama(), token_groups(30), path, Measured(), max_tokens=80)
    assert max(sizes) <= 80
    assert len(sizes) > 5


def test_what_was_done_before_a_stop_is_not_done_again(path: Path) -> None:
    model, groups = tiny_llama(), token_groups(20)
    stopped, again = Counted(breaks_after=3), Counted()
    with pytest.raises(KeyboardInterrupt):
        run(model, groups, path, stopped)
    found = run(model, groups, path, again)
    assert found.num_kept == sum(stopped.calls) > 0
    assert sum(again.calls) == 40 - sum(stopped.calls)


def test_other_weights_and_other_layouts_are_run_by_themselves(path: Path) -> None:
    model, groups = tiny_llama(), token_groups(4)
    run(model, groups, path, PackedForward())
    for other, forward in ((tiny_llama(), Counted()), (model, Counted(SequencesForward()))):
        run(other, groups, path, forward)
        assert sum(forward.calls) == 8
    assert [stored.num_logps for stored in LogpStore(path).models()] == [8, 8, 8]


def test_without_a_store_the_log_probs_are_the_same(tmp_path: Path) -> None:
    model, groups = tiny_llama(), token_groups(6)
    said: list[str] = []
    (tmp_path / "file").write_text("")
    kept = run(model, groups, tmp_path / "logps.sqlite", PackedForward()).reference
    nowhere = OptionalStore(tmp_path / "file" / "logps.sqlite", said.append)
    reference = FrozenCopy(copy.deepcopy(model).eval())
    own = ReferencePass(reference, model, PackedForward(), Arithmetic(torch.device("cpu")), 100).run(groups, nowhere)
    assert own.reference.table == kept.table
    assert len(said) == 1


def test_two_ranks_deal_the_work_out_and_share_what_they_find(tmp_path: Path) -> None:
    run_two_ranks("tests.model.reference.two_ranks", tmp_path)
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert sum(ranks[0]["first"]) + sum(ranks[1]["first"]) == 26
    assert all(sum(rank["first"]) > 0 for rank in ranks)
    assert all(rank["second"] == [] for rank in ranks)
    assert ranks[0]["table"] == ranks[1]["table"]
    assert len(ranks[0]["table"]) == 26
    assert "is not the one of process" in ranks[0]["error"]
    torch.manual_seed(0)
    own = run(tiny_llama(), token_groups(13), tmp_path / "own.sqlite", PackedForward(), per_token=True).reference
    assert own.token_table is not None
    for key, value in own.table.items():
        assert ranks[0]["table"][key.hex()] == pytest.approx(value, abs=1e-4)
    assert ranks[0]["token_table"] == ranks[1]["token_table"]
    for key, values in own.token_table.items():
        assert ranks[0]["token_table"][key.hex()] == pytest.approx(values.tolist(), abs=1e-4)
