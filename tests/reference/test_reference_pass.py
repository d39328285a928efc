import copy
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from preftune.data.token_group import TokenGroup
from preftune.planning import Layout
from preftune.policy.forward import Forward, completion_logps
from preftune.policy.packed import PackedForward
from preftune.policy.packed_batch import PackedBatch, pack
from preftune.policy.sequences import SequencesForward
from preftune.reference import FrozenCopy
from preftune.reference.arithmetic import Arithmetic
from preftune.reference.optional_store import OptionalStore
from preftune.reference.reference_pass import ReferencePass, ReferencePassResult
from preftune.reference.store import LogpStore
from tests.builders import tiny_llama, token_groups

ROOT = Path(__file__).parents[2]


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


def run(
    model: nn.Module, groups: Sequence[TokenGroup], path: Path, forward: Forward, *, max_tokens: int = 100
) -> ReferencePassResult:
    """A pass with a store of its own, as a new process would have it."""
    reference = FrozenCopy(copy.deepcopy(model).eval())  # type: ignore[arg-type]
    store = OptionalStore(path, pytest.fail)
    found = ReferencePass(reference, reference.model, forward, Arithmetic(torch.device("cpu")), max_tokens).run(
        groups, store
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
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*command, "-m", "tests.reference.two_ranks", str(tmp_path)],
        cwd=ROOT, env=environment, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2)]
    assert sum(ranks[0]["first"]) + sum(ranks[1]["first"]) == 26
    assert all(sum(rank["first"]) > 0 for rank in ranks)
    assert all(rank["second"] == [] for rank in ranks)
    assert ranks[0]["table"] == ranks[1]["table"]
    assert len(ranks[0]["table"]) == 26
    assert "is not the one of process" in ranks[0]["error"]
    torch.manual_seed(0)
    expected = run(tiny_llama(), token_groups(13), tmp_path / "own.sqlite", PackedForward()).reference.table
    for key, value in expected.items():
        assert ranks[0]["table"][key.hex()] == pytest.approx(value, abs=1e-4)
