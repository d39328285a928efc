"""Runs a worker of the tests as two processes that talk over gloo."""

import faulthandler
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import torch
from accelerate import PartialState

__all__ = ["run_as_rank", "run_two_ranks"]

ROOT = Path(__file__).parents[1]
SECONDS = 150
"""Until ranks that hang say where, and end. They take some ten seconds on a free core."""


def run_two_ranks(worker: str, folder: Path) -> None:
    """Run the module `worker` as rank 0 and 1, and fail with what they printed if one of them does.

    Both are forked from a process that has imported the module, which takes half the time of torchrun.

    Args:
        worker: A module that calls `run_as_rank` if it is the main one.
        folder: Where the ranks put what they find.
    """
    command = [sys.executable, "-m", "tests.two_ranks", worker, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=2 * SECONDS, check=False
    )
    assert run.returncode == 0, f"{worker} ended with {run.returncode}\n{run.stdout}\n{run.stderr}"


def _fork(worker: str, folder: str) -> bool:
    """Fork both ranks and wait for them. True if both succeed; the failure of one ends the other."""
    torch.set_num_threads(1)
    import_module(worker)
    del sys.modules[worker]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ranks = []
    for rank in range(2):
        child = os.fork()
        if not child:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            sys.argv = [worker, folder]
            try:
                runpy.run_module(worker, run_name="__main__", alter_sys=True)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        ranks.append(child)
    for _ in range(2):
        ended, status = os.wait()
        ranks.remove(ended)
        if status:
            for other in ranks:
                os.kill(other, signal.SIGKILL)
            return False
    return True


def run_as_rank(work: Callable[[int, Path], None]) -> NoReturn:
    """Do this rank's work, given its number and the folder, wait for the other rank and end the process.

    The interpreter is not wound up. Threads of gloo drop the tensors of the last collectives after these are done, and
    need the interpreter for it: one that comes too late aborts the process ("terminate called without an active
    exception"), and one that is joined by the destructor of DDP's reducer waits for ever. `destroy_process_group` helps
    only if nothing else holds the group, as DDP and the caches of DTensor do.
    """
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    torch.set_num_threads(1)
    work(PartialState(cpu=True).process_index, Path(sys.argv[1]))
    PartialState().wait_for_everyone()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(0 if _fork(*sys.argv[1:]) else 1)
