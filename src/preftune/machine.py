"""Limits of the machine: control groups, CPU quotas, and the threads of computations."""

import math
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path

CGROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

_NUMBER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables by which users set the number of threads. If one is set, preftune changes none."""
_MARK = "PREFTUNE_CPU_QUOTA_THREADS"
"""Tells this process and its subprocesses that the number of threads is not the user's choice."""
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""Passive waiting of threads for each other, for GNU's and LLVM's OpenMP. By default they spin, for 3 and 200 ms, which
takes the core from the thread that they wait for as soon as another process runs: two threads on two busy cores then
train at a third of the speed."""


def set_up_threads(
    environment: MutableMapping[str, str] = os.environ, root: Path = CGROUPS, membership: Path = MEMBERSHIP
) -> None:
    """Make threads wait passively, and limit their number to the CPU quota of the container.

    The variables work only if they are set before torch is imported. If it is already imported, only the number of its
    threads is limited. Variables that the user has set are not changed.
    """
    if not any(name in environment for name in _WAITING):
        environment.update(_WAITING)
    quota = cpu_quota(root, membership)
    if quota is None or _set_by_user(environment) is not None:
        return
    share = max(1, math.ceil(quota / int(environment.get("LOCAL_WORLD_SIZE", "1"))))
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(min(share, torch.get_num_threads()))
    elif share < _physical_cores():
        environment["OMP_NUM_THREADS"] = environment[_MARK] = str(share)


def _set_by_user(environment: Mapping[str, str]) -> str | None:
    """The variable by which the user has set the number of threads, or None."""
    return None if _MARK in environment else next((name for name in _NUMBER if name in environment), None)


def threads_text(num_threads: int, environment: Mapping[str, str] = os.environ) -> str:
    """The number of threads and what sets it.

    >>> threads_text(4, {"OMP_NUM_THREADS": "4"}), threads_text(1, {})
    ('4 threads (OMP_NUM_THREADS)', '1 thread')
    """
    text = f"{num_threads} thread{'s' * (num_threads != 1)}"
    if _MARK in environment:
        return f"{text} (CPU quota)"
    named = _set_by_user(environment)
    return text if named is None else f"{text} ({named})"


def busy_hint(num_threads: int, load: float | None = None) -> str:
    """A hint for a machine that other processes keep busy, where few threads may be faster; empty for an idle one.

    Args:
        load: Processes that want to run, averaged over a minute. Default: measured.

    >>> busy_hint(64, load=0.5), busy_hint(1, load=900.0)
    ('', '')
    """
    cores = _allowed_cores()
    if load is None:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if num_threads == 1 or load < cores:
        return ""
    return f"; the machine is busy (load {load:.1f} on {cores} cores), where OMP_NUM_THREADS=1 may be faster"


def cpu_quota(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float | None:
    """CPUs that the control groups of this process may use at once; None without a quota."""
    quotas = [_quota(folder) for folder in control_group_folders("cpu", root, membership)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota(folder: Path) -> float | None:
    """The quota of a control group: `cpu.max` in version 2, two files in version 1; None if it has none."""
    with suppress(OSError, ValueError):
        quota, period = map(int, (folder / "cpu.max").read_text().split())  # `max` if there is no limit
        return quota / period
    with suppress(OSError, ValueError):
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 else None  # -1 if there is no limit
    return None


def control_group_folders(controller: str, root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> list[Path]:
    """Folders of the control groups, of version 1 and 2, that may limit this process, and of their parents.

    Args:
        controller: `cpu` or `memory`.
        membership: File that lists the control groups of this process, as lines `number:controllers:path`.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers == "":  # version 2
            found += _with_parents(root, path)
        elif controller in controllers.split(","):
            found += _with_parents(root / controller, path)
    return found


def _with_parents(root: Path, path: str) -> Iterator[Path]:
    """Folders of a control group and of its parents: each may have a limit. A container has only `root`."""
    folder = root / path.lstrip("/")
    while folder != root and root in folder.parents:
        yield folder
        folder = folder.parent
    yield root


def _physical_cores() -> int:
    """Cores that this process may run on: the number of threads that torch uses by default."""
    import psutil  # type: ignore[import-untyped]  # only in a container with a quota: the import takes time

    allowed = _allowed_cores()
    return min(allowed, psutil.cpu_count(logical=False) or allowed)


def _allowed_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
