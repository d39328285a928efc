"""Imports before the first fork, so that no trial waits for them."""

import importlib
import pkgutil
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from transformers.utils import logging

import preftune
from tests.campaign.commands import RUNS, start
from tests.campaign.forked import run_forked
from tests.campaign.place import Place

__all__ = ["warm"]


def warm() -> None:
    """Import all that a run imports, without running anything: threads would not survive a fork.

    A first run in a forked process tells which modules it came to need.
    """
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    for module in pkgutil.walk_packages(preftune.__path__, "preftune."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        run_forked(partial(_report_modules, place), Path(folder) / "first", at_most=120)
        needed = (Path(folder) / "first" / "modules").read_text().split()
    for name in needed:
        if name not in sys.modules and not name.startswith(("__", "torch.distributed")):
            with suppress(Exception):  # one of those that other libraries make up as they go
                importlib.import_module(name)
    torch.manual_seed(0)


def _report_modules(place: Place) -> int:
    status = start(RUNS[6], RUNS[6].arguments(place.inputs))
    Path("modules").write_text("\n".join(sys.modules))
    return status
