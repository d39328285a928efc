"""The training device: its name, and its memory in use, free, and at its peak."""

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

import psutil  # type: ignore[import-untyped]
import torch
from typing_extensions import override

from preftune.errors import ConfigError
from preftune.machine import CGROUPS, MEMBERSHIP, busy_hint, control_group_folders, threads_text

_SECONDS_BETWEEN_SAMPLES = 0.002
_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Limit, use and the key of droppable pages in `memory.stat`, in version 2 and version 1 of control groups."""


def device_line(device: torch.device) -> str:
    """The device of computations, and the threads of those on the CPU.

    >>> device_line(torch.device("cpu")).startswith("device: cpu, ")
    True
    """
    num_threads = torch.get_num_threads()
    if device.type == "cuda":
        return f"device: {device}, {torch.cuda.get_device_name(device)}"
    return f"device: {device}, {threads_text(num_threads)}{busy_hint(num_threads)}"


class DeviceMemory(Protocol):
    """Measurements of a device's memory. Unit of all: bytes."""

    def used(self) -> int:
        """Memory in use by this process."""

    def free(self) -> int:
        """Further memory that this process could use."""

    def peak_used(self, work: Callable[[], object]) -> int:
        """Peak memory in use while `work` runs."""


def memory_of(device: torch.device) -> DeviceMemory:
    """The memory of `device`.

    Raises:
        ConfigError: a device whose memory cannot be measured here.
    """
    match device.type:
        case "cuda":
            return CudaMemory(device)
        case "cpu":
            return HostMemory()
    raise ConfigError(
        [f"max_tokens_per_microbatch = auto: the memory of {device.type} devices cannot be measured. Give a number."]
    )


@final
@dataclass(frozen=True, slots=True)
class CudaMemory:
    """Memory of a GPU, as PyTorch's allocator counts it. Memory of other processes is not free."""

    device: torch.device

    def used(self) -> int:
        return torch.cuda.memory_allocated(self.device)

    def free(self) -> int:
        """See `DeviceMemory.free`. Memory that the allocator has reserved but does not use is free."""
        outside, _ = torch.cuda.mem_get_info(self.device)
        return outside + torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)

    def peak_used(self, work: Callable[[], object]) -> int:
        torch.cuda.reset_peak_memory_stats(self.device)
        work()
        torch.cuda.synchronize(self.device)
        return torch.cuda.max_memory_allocated(self.device)


@final
@dataclass(frozen=True, slots=True)
class HostMemory:
    """Memory of the machine, or of the control group (container, job) that the process must stay in.

    The peak is the maximum of the resident memory, sampled every 2 ms. Processes that train on one machine share the
    free memory.
    """

    def used(self) -> int:
        """See `DeviceMemory.used`. Freed memory is first returned to the system; otherwise it would hide a peak."""
        gc.collect()
        with suppress(AttributeError, OSError, TypeError):
            ctypes.CDLL(None).malloc_trim(0)  # needed for glibc only, whose allocator keeps much freed memory
        return _resident()

    def free(self) -> int:
        free: int = min([psutil.virtual_memory().available, *cgroup_free_bytes()])
        return free // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))

    def peak_used(self, work: Callable[[], object]) -> int:
        self.used()
        watch = _Watch()
        watch.start()
        try:
            work()
        finally:
            watch.done.set()
            watch.join()
        return watch.peak


class _Watch(threading.Thread):
    """Samples the memory in use."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = _resident()
        self.done = threading.Event()

    @override
    def run(self) -> None:
        while not self.done.wait(_SECONDS_BETWEEN_SAMPLES):
            self.peak = max(self.peak, _resident())


def _resident() -> int:
    resident: int = psutil.Process().memory_info().rss
    return resident


def cgroup_free_bytes(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> list[int]:
    """Free memory in each control group of this process that has a limit. Arguments: see `control_group_folders`.

    File pages that the kernel can drop do not count as used.
    """
    folders = control_group_folders("memory", root, membership)
    found = [_free_below(folder, *files) for folder in folders for files in _FILES]
    return [free for free in found if free is not None]


def _free_below(folder: Path, limit: str, usage: str, droppable: str) -> int | None:
    try:
        limit_bytes = int((folder / limit).read_text())  # `max` if there is no limit
        used = int((folder / usage).read_text())
        fields = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return max(0, limit_bytes - used + int(fields.get(droppable, 0)))


def peak_memory_bytes() -> int:
    """Peak memory so far: allocated on the GPU if there is one, else resident in the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return _peak_resident()


def _peak_resident() -> int:
    if sys.platform == "win32":
        peak: int = psutil.Process().memory_info().peak_wset
        return peak
    import resource  # POSIX only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
