"""Packed rows under DDP and FSDP2, on two ranks over gloo."""

import json
from pathlib import Path

import pytest

from tests.model.forward.two_ranks import CASES, NUM_RANKS
from tests.two_ranks import run_two_ranks


def test_two_ranks_with_uneven_shares_give_the_gradient_of_one_rank_on_the_whole_step(tmp_path: Path) -> None:
    run_two_ranks("tests.model.forward.two_ranks", tmp_path)
    for rank in range(NUM_RANKS):
        errors = json.loads((tmp_path / f"rank{rank}.json").read_text())
        assert errors == {case.name: pytest.approx(0, abs=1e-10) for case in CASES}
