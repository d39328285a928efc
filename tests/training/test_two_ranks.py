import json
from pathlib import Path

import pytest
import torch

from tests.training.two_ranks import WRAPPERS, train
from tests.two_ranks import run_two_ranks


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks wrote."""
    folder = tmp_path_factory.mktemp("ranks")
    run_two_ranks("tests.training.two_ranks", folder)
    return folder


def test_samples_that_the_main_process_draws_are_known_to_all_ranks(ranks: Path) -> None:
    first, second = (json.loads((ranks / f"samples-{rank}.json").read_text()) for rank in range(2))
    numbers = {"samples/entropy": 1.5, "samples/num_tokens": 2.0, "samples/num_tokens_error": 0.5}
    plain = {**numbers, "samples/finished": 1.0}
    assert first[0] == second[0] == [plain, {}]
    assert first[1] == [{**plain, "same": 1.0}, "no cache for this model"]
    assert second[1][0] == first[1][0]
    assert second[1][1].startswith("samples: the main process could not take them. NotImplementedError: no cache")
    assert len((ranks / "plain").read_text().splitlines()) == 1


def test_two_ranks_with_uneven_shares_learn_what_one_learns(ranks: Path, tmp_path: Path) -> None:
    train(tmp_path / "one")
    one, one_logs = read(tmp_path / "one")
    assert len(one_logs) == 5
    for name in WRAPPERS:
        two, two_logs = read(ranks / name)
        torch.testing.assert_close(two, one, rtol=1e-10, atol=1e-12)
        for found, expected in zip(two_logs, one_logs, strict=True):
            assert found == pytest.approx(expected, rel=1e-5)


def read(folder: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    return torch.load(folder / "weights.pt"), json.loads((folder / "logs.json").read_text())
