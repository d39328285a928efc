"""Ranks of one run, forked from a process that has imported everything, and delayed or killed at chosen points."""

import contextlib
import faulthandler
import os
import re
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["At", "Delay", "RanksEnd", "Signal", "points_of", "run_ranks"]

_CRASHED = 70
_FILES = {"open", "os.listdir", "os.scandir", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"}
"""Audit events, which Python raises before the operation."""
_VARYING = re.compile(r"\.\d+\.(partial|mode)|\d{8}-\d{6}-\d+|tmp\w{8}|events\.out\.\S+")
SHARDING = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
}
"""Environment by which `accelerate launch` asks for FSDP2."""


@dataclass(frozen=True, slots=True)
class At:
    """A file operation of a rank inside the watched folder.

    Args:
        point: Operation and path, such as `os.mkdir run/checkpoint-2`; None for all.
        call: Which of the operations at that point, counted from 0.
    """

    rank: int
    point: str | None
    call: int = 0


@dataclass(frozen=True, slots=True)
class Delay:
    """A rank waits before an operation."""

    at: At
    seconds: float = 0.7


@dataclass(frozen=True, slots=True)
class Signal:
    """A rank gets a signal before an operation."""

    at: At
    number: int = signal.SIGKILL


@dataclass(frozen=True, slots=True)
class RanksEnd:
    """The end of all ranks.

    Args:
        codes: Exit statuses, negative numbers for signals; None for a rank that did not end.
        texts: Standard output and error.
        points: Operations inside the watched folder, in their order.
        seconds: Duration, from the moment when all ranks had found each other.
        seconds_between: From the first end to the last.
    """

    codes: tuple[int | None, ...]
    texts: tuple[str, ...]
    points: tuple[tuple[str, ...], ...]
    seconds: float
    seconds_between: float

    def __str__(self) -> str:
        ranks = enumerate(zip(self.codes, self.texts, strict=True))
        return "\n".join(f"--- rank {rank}: {code}\n{text}" for rank, (code, text) in ranks)


def points_of(end: RanksEnd) -> list[tuple[int, str]]:
    """All different points of a run, by rank."""
    return [(rank, point) for rank, points in enumerate(end.points) for point in dict.fromkeys(points)]


def run_ranks(
    work: Callable[[], int | None],
    folder: Path,
    *,
    num_ranks: int = 2,
    acts: Sequence[Delay | Signal] = (),
    kill_after: tuple[int, float] | None = None,
    is_sharded: bool = False,
    at_most: float = 300.0,
) -> RanksEnd:
    """Run `work` in each rank, in `folder`, whose files are watched.

    Args:
        acts: Delays and signals.
        kill_after: A rank, and the seconds after which it is killed, once all ranks have found each other.
        is_sharded: Shard the model by FSDP2, else DDP.
        at_most: Seconds until ranks that still run are ended.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
        "WORLD_SIZE": str(num_ranks),
        "LOCAL_WORLD_SIZE": str(num_ranks),
        "PREFTUNE_CACHE": str(folder / "cache"),
        **(SHARDING if is_sharded else {}),
    }
    children = []
    for rank in range(num_ranks):
        child = os.fork()
        if not child:
            own = environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            _become(work, folder, _Points(folder, rank, acts), own, is_sharded=is_sharded)
        children.append(child)
    codes, *seconds = _wait(children, kill_after, folder.with_name(f"{folder.name}-0.points"), at_most)
    texts = [_read(folder.with_name(f"{folder.name}-{rank}.log")) for rank in range(num_ranks)]
    points = [_read(folder.with_name(f"{folder.name}-{rank}.points")).splitlines() for rank in range(num_ranks)]
    return RanksEnd(tuple(codes), tuple(texts), tuple(map(tuple, points)), *seconds)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(
    children: list[int], kill_after: tuple[int, float] | None, begun: Path, at_most: float
) -> tuple[list[int | None], float, float]:
    """Exit statuses, the duration, and the time from the first end to the last.

    Args:
        begun: A file that the first rank fills once it has met the others.
    """
    codes: list[int | None] = [None] * len(children)
    launched, met, first_end = time.monotonic(), 0.0, 0.0
    while None in codes and time.monotonic() < launched + at_most:
        if not met and begun.exists() and begun.stat().st_size:
            met = time.monotonic()
        if met and kill_after is not None and time.monotonic() > met + kill_after[1]:
            if codes[kill_after[0]] is None:
                os.kill(children[kill_after[0]], signal.SIGKILL)
            kill_after = None
        for rank, child in enumerate(children):
            if codes[rank] is None:
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    codes[rank] = os.waitstatus_to_exitcode(status)
                    first_end = first_end or time.monotonic()
        time.sleep(0.005)
    last_end = time.monotonic()
    for rank, child in enumerate(children):
        if codes[rank] is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return codes, last_end - (met or launched), last_end - (first_end or launched)


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


class _Points:
    """An audit hook that writes down the operations on the watched folder, and acts before some of them.

    Args:
        folder: The watched folder.
    """

    def __init__(self, folder: Path, rank: int, acts: Sequence[Delay | Signal]) -> None:
        self.rank = rank
        self._folder = str(folder)
        self._acts = [act for act in acts if act.at.rank == rank]
        self._counts: dict[str | None, int] = {}
        self._log = folder.with_name(f"{folder.name}-{rank}.points").open("w", encoding="utf-8", buffering=1)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _FILES or not isinstance(arguments[0], str | os.PathLike | bytes):
            return
        path = os.path.abspath(os.fsdecode(arguments[0]))  # noqa: PTH100
        if not path.startswith(self._folder + os.sep):
            return
        point = f"{event} {_VARYING.sub('*', path[len(self._folder) + 1 :])}"
        self._log.write(point + "\n")
        for name in (None, point):
            call = self._counts.setdefault(name, 0)
            self._counts[name] += 1
            for act in self._acts:
                if act.at == At(self.rank, name, call):
                    _do(act)


def _do(act: Delay | Signal) -> None:
    if isinstance(act, Delay):
        time.sleep(act.seconds)
    else:
        os.kill(os.getpid(), act.number)


def _become(
    work: Callable[[], int | None], folder: Path, points: _Points, environment: dict[str, str], *, is_sharded: bool
) -> NoReturn:
    """Turn this process into a rank."""
    code = _CRASHED
    try:
        output = os.open(folder.with_name(f"{folder.name}-{points.rank}.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
        faulthandler.enable()
        os.environ.update(environment)
        os.chdir(folder)
        if is_sharded:
            _let_accelerate_shard()
        sys.addaudithook(points)
        code = work() or 0
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _let_accelerate_shard() -> None:
    """Accelerate leaves FSDP out, without a word, where the ranks are called those of CPUs."""
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    from preftune.runs import run
    from preftune.runs.arguments import training_arguments

    def of_gpus(config: Any) -> Any:
        arguments = training_arguments(config)
        PartialState().distributed_type = DistributedType.MULTI_GPU
        return arguments

    vars(run)["training_arguments"] = of_gpus
