"""A delay of either rank before each of its operations on files: minutes, so by `-m campaign` only."""

import pytest

from tests.campaign.place import Place
from tests.campaign.ranks import RUNS, differing, undisturbed
from tests.forked_ranks import At, Delay

pytestmark = pytest.mark.filterwarnings("ignore:This process")

SECONDS = 0.25
"""In which the other rank comes as far as it can without this one."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("ranks") / "place")


@pytest.mark.campaign
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("name", ["dpo, DDP", "lora, DDP", "dpo, FSDP2"])
def test_a_rank_that_waits_before_each_operation_changes_nothing(name: str, rank: int, place: Place) -> None:
    subject = next(subject for subject in RUNS if subject.name == name)
    expected, end = undisturbed(place, subject)
    waits = [Delay(At(rank, None, call), SECONDS) for call in range(2 * len(end.points[rank]))]
    folder = place.new()
    found = subject.call(place, folder, acts=waits, at_most=240.0)
    assert found.codes == (0, 0), str(found)
    assert not differing(subject, expected, folder)
