"""Runs of two ranks on the CPU, in forked processes.

`python -m tests.runs.two_ranks FOLDER` makes those of the tests.
"""

import importlib
import json
import os
import pkgutil
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")

import torch  # after the limits of threads

import preftune
from tests.forked_ranks import At, Delay, Signal, run_ranks
from tests.runs.inputs import write_model, write_pairs

__all__ = ["command", "run_all", "warm"]

STEPS = {"epochs": 2, "batch_size": 4, "learning_rate": 0.01, "save_every": 2, "eval_fraction": 0.25}
"""Six steps, three checkpoints, and an evaluation just before the model is saved."""
MOVED = ("os.mkdir run/.model.partial", "os.rename run/.model.partial/model.safetensors", "open run/.summary.json*")


def warm() -> None:
    """Import all that a run imports before the first fork."""
    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(preftune.__path__, "preftune."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    importlib.import_module("transformers.models.llama.modeling_llama")


def command(inputs: Path, **settings: Any) -> Callable[[], None]:
    """`preftune train` on the inputs, into the folder `run`, without its report."""
    defaults = {"model": inputs / "model", "data": inputs / "pairs.jsonl", "output": "run", **STEPS}
    defaults |= {"precision": "fp32", "report_to": "none", "eval_samples": 0, "check_data": False}
    flags = [part for name, value in {**defaults, **settings}.items() for part in _flag(name, value)]

    def call() -> None:
        from preftune.cli import report
        from preftune.cli.main import preftune as group

        vars(report)["leave_report"] = lambda *_: None
        sys.argv = ["preftune", "train", *flags]
        group(args=["train", *flags], prog_name="preftune")

    return call


def _flag(name: str, value: Any) -> list[str]:
    flag = name.replace("_", "-")
    return [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]


def run_all(folder: Path) -> None:
    """Make all runs of the tests, and write down how their ranks ended."""
    warm()
    inputs = folder / "inputs"
    inputs.mkdir(parents=True)
    torch.manual_seed(0)
    write_model(inputs / "model")
    write_pairs(inputs / "pairs.jsonl")
    ends = {}

    def run(name: str, *acts: Delay | Signal, is_sharded: bool = False, **settings: Any) -> None:
        end = run_ranks(command(inputs, **settings), folder / name, acts=acts, is_sharded=is_sharded)
        ends[name] = {name: value for name, value in asdict(end).items() if name != "points"}

    run("undisturbed")
    run("sharded", is_sharded=True)
    run("stopped", Signal(At(1, "os.mkdir run/checkpoint-2"), signal.SIGTERM))
    shutil.copytree(folder / "stopped", folder / "resumed")
    run("resumed", *_delays(), resume=True)
    run("killed", Signal(At(1, "os.mkdir run/checkpoint-4")))
    shutil.copytree(folder / "undisturbed", folder / "refused")
    run("refused")
    (folder / "ends.json").write_text(json.dumps(ends))


def _delays() -> Sequence[Delay]:
    """Delays of the first rank where the model is written and moved, and of the second before that and after."""
    second = [Delay(At(1, point)) for point in ("os.mkdir run/checkpoint-6", "os.scandir run")]
    return [*(Delay(At(0, point)) for point in MOVED), *second]


if __name__ == "__main__":
    run_all(Path(sys.argv[1]))
