"""A trial of each kind, so that the campaign itself stays in order; and the campaign by pytest, on request."""

import os
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests.campaign.kinds import KINDS
from tests.campaign.runner import Campaign

pytestmark = pytest.mark.filterwarnings("ignore:This process")


def campaign(folder: Path, *kinds: str) -> Campaign:
    chosen = [kind for name, kind in KINDS.items() if name in kinds]
    return Campaign(chosen, seed=0, folder=folder, console=Console(file=StringIO(), width=200), jobs=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("campaign")


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_tries_something_and_counts_it(kind: str, folder: Path) -> None:
    found = campaign(folder, kind)
    found.run_one(KINDS[kind], 0)
    assert found.tallies[kind].tried > 0
    assert [failure for failure in found.failures if "the trial itself" in failure] == []


@pytest.mark.campaign
def test_nothing_is_lost_in_a_campaign(tmp_path: Path) -> None:
    """`make campaign` is the same with a table, a seed of its own and forks of a fresh process."""
    found = campaign(tmp_path, *KINDS)
    found.run(float(os.environ.get("SECONDS", "60")))
    assert found.failures == []
