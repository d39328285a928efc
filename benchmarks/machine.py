"""The machine of a measurement: a description, and its fastest measured matrix product."""

import datetime
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers

__all__ = ["Machine", "peak_flops", "seconds_now", "this_machine"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Hardware and versions of a measurement."""

    cpu: str
    cores: int
    threads: int
    torch: str
    transformers: str
    date: str
    gpu: str | None = None

    def __str__(self) -> str:
        device = self.gpu or f"{self.cpu}, {self.cores} cores, {self.threads} threads"
        return f"{device}; torch {self.torch}, transformers {self.transformers}; {self.date}"


def this_machine(*, gpu: bool = False) -> Machine:
    """The machine at hand, today; with `gpu`, that of a measurement on its GPU."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return Machine(
        cpu=names[0] if names else "unknown CPU",
        cores=len(os.sched_getaffinity(0)),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        transformers=transformers.__version__,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        gpu=torch.cuda.get_device_name() if gpu else None,
    )


def peak_flops(dtype: torch.dtype, *, size: int = 2048, rounds: int = 8, device: str = "cpu") -> float:
    """The best of some square matrix products. Unit: operations per second."""
    left, right = torch.randn(2, size, size, device=device).to(dtype)
    best = float("inf")
    for _ in range(rounds):
        start = seconds_now()
        left @ right
        best = min(best, seconds_now() - start)
    return 2 * size**3 / best


def seconds_now() -> float:
    """Time after all queued work of a GPU, if there is one. Unit: seconds."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
