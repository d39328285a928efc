"""Runs made sick on purpose, each shared by the rules that fire on it."""

import pytest

from preftune.runs.result import RunResult
from tests.training.conftest import Start
from tests.training.health.world import friendly_pairs, longer_pairs, nearly_equal_pairs, swapped


@pytest.fixture(scope="session")
def exploded(start: Start) -> RunResult:
    """A thousand times the learning rate."""
    return start(friendly_pairs(160, 1), friendly_pairs(64, 2), learning_rate=3.0, eval_samples=8)


@pytest.fixture(scope="session")
def far_in_samples(start: Start) -> RunResult:
    """A hundred times the learning rate, with the KL of samples, which shows it before the answers of the data do."""
    rows = friendly_pairs(160, 1), friendly_pairs(64, 2)
    return start(*rows, learning_rate=0.3, eval_samples=8, eval_sample_tokens=32, reference_cache=False)


@pytest.fixture(scope="session")
def length_only(start: Start) -> RunResult:
    """The longer answer is chosen, and nothing else matters."""
    return start(longer_pairs(400, 1), longer_pairs(100, 2), epochs=1, learning_rate=1e-2)


@pytest.fixture(scope="session")
def hardly_different(start: Start) -> RunResult:
    """A word makes the whole difference, always the same."""
    return start(nearly_equal_pairs(160, 1), learning_rate=3e-2)


@pytest.fixture(scope="session")
def swapped_labels(start: Start) -> RunResult:
    """Held-out pairs are labelled the other way round."""
    return start(friendly_pairs(160, 1, noise=0.3), swapped(friendly_pairs(64, 2, noise=0.3)), learning_rate=1e-2)
