"""Peak memory of a piece of work, in a process of its own."""

import multiprocessing as mp
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import torch

__all__ = ["peak_bytes"]

_KIB = 1024
_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"  # proc(5): writing it to clear_refs sets the high-water mark back to what is in use now.

Given = TypeVar("Given")


def peak_bytes(prepare: Callable[[Given], Callable[[], object]], given: Given, *, num_threads: int) -> int:
    """Peak of resident memory while the work runs, above what is resident before it. Linux only. Unit: bytes.

    Args:
        prepare: Makes the work: what it loads is not counted. Of a module's top level, because it is sent to a new
            process.
        given: What `prepare` is called with.
        num_threads: Threads of torch.
    Raises:
        RuntimeError: the process died, as for lack of memory.
    """
    spawn = mp.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_run, args=(theirs, prepare, given, num_threads))
    process.start()
    theirs.close()
    try:
        peak: int = ours.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"{prepare.__name__} died with code {process.exitcode} while memory was measured") from None
    process.join()
    return peak


def _run(pipe: Connection, prepare: Callable[[Given], Callable[[], object]], given: Given, num_threads: int) -> None:
    torch.set_num_threads(num_threads)
    work = prepare(given)
    before = _bytes_of("VmRSS")
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    work()
    pipe.send(_bytes_of("VmHWM") - before)


def _bytes_of(name: str) -> int:
    """A field of proc(5) status that is given in kB."""
    [line] = [line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) * _KIB
