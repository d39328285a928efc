import math
import sys
from pathlib import Path

import pytest

from preftune.errors import ConfigError
from preftune.settings.space import Choice, Dimension, Range, Setup
from preftune.sweep.trials import Trials

SPACE: dict[str, Dimension] = {"beta": Range(0.01, 1.0, log=True), "method": Choice(("dpo", "ipo"))}


def found_for(setup: Setup) -> tuple[float, float]:
    """Best at beta = 0.1; the lower beta, the farther."""
    beta = setup.get("beta", 1.0)
    return -abs(math.log(beta / 0.1)), 1 / beta


def searched(
    folder: Path, total: int, *, most: int | None = None, space: dict[str, Dimension] | None = None
) -> list[tuple[int, Setup]]:
    """The points of a search that is interrupted before all results are reported."""
    trials = Trials(folder, space or SPACE, "dpo", None)
    done = []
    try:
        for number, setup in trials.setups(total):
            done.append((number, setup))
            if most is not None and len(done) > most:
                break
            trials.tell(number, found_for(setup))
    finally:
        trials.close()
    return done


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return tmp_path / "one", tmp_path / "two"


def test_points_lie_in_the_space_and_differ(folders: tuple[Path, Path]) -> None:
    found = [setup for _, setup in searched(folders[0], 8)]
    assert len(found) == 8
    assert all(first != second for place, first in enumerate(found) for second in found[:place])
    for setup in found:
        assert setup["method"] in ("dpo", "ipo")
        assert ("beta" in setup) == (setup["method"] == "dpo")
        assert 0.01 <= setup.get("beta", 0.1) <= 1


def test_a_search_that_was_cut_off_proposes_what_it_would_have(folders: tuple[Path, Path]) -> None:
    whole = searched(folders[0], 6)
    first = searched(folders[1], 6, most=3)  # the fourth is proposed, but its result is not reported
    again = searched(folders[1], 6)
    assert first == whole[:4]
    assert again == whole


def test_more_trials_continue_from_the_finished_ones(folders: tuple[Path, Path]) -> None:
    before = searched(folders[0], 3)
    assert searched(folders[0], 5)[:3] == before
    assert len(searched(folders[0], 5)) == 5


def test_a_space_that_holds_no_more_ends_the_search(folders: tuple[Path, Path]) -> None:
    found = searched(folders[0], 9, space={"epochs": Choice((1.0, 2.0))})
    assert sorted(setup["epochs"] for _, setup in found) == [1.0, 2.0]


def test_a_failure_is_reported_and_the_search_continues(folders: tuple[Path, Path]) -> None:
    trials = Trials(folders[0], SPACE, "dpo", 5.0)
    numbers = []
    for number, setup in trials.setups(3):
        numbers.append(number)
        trials.tell(number, None if len(numbers) == 1 else found_for(setup))
    trials.close()
    assert len(numbers) == 3


def test_without_optuna_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'preftune\[sweep\]'"):
        Trials(tmp_path, SPACE, "dpo", None)
