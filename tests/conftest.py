"""Settings of all tests: two workers share two cores, and nothing may reach for the network.

torch is imported by what needs it: the process that hands tests to the workers does not, and they wait for it.
"""

import gc
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings

# The same examples in every run: what a new seed finds belongs into a test of its own.
settings.register_profile("fixed", derandomize=True)
settings.load_profile("fixed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "campaign" not in config.option.markexpr:
        items[:] = [item for item in items if not item.get_closest_marker("campaign")]
    import torch

    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a GPU"))


def pytest_collection_finish() -> None:
    """Take modules and tests, which live to the end, out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For fixtures that outlive a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _cache_of_the_test(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFTUNE_CACHE", str(tmp_path_factory.getbasetemp() / f"cache-{uuid4().hex}"))


@pytest.fixture(autouse=True)
def _seed() -> None:
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama of two layers with its tokenizer."""
    import torch

    from tests.runs.inputs import write_model

    torch.manual_seed(0)
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pairs in which the right sum is preferred."""
    from tests.runs.inputs import write_pairs

    return write_pairs(tmp_path_factory.mktemp("data") / "pairs.jsonl")
