"""The machine of a measurement: a description, and its fastest measured matrix product."""

import datetime
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers

__all__ = ["Machine", "peak_flops", "this_machine"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Hardware and versions of a measurement."""

    cpu: str
    cores: int
    threads: int
    torch: str
    transformers: str
    date: str

    def __str__(self) -> str:
        return (
            f"{self.cpu}, {self.cores} cores, {self.threads} threads; torch {self.torch}, transformers "
            f"{self.transformers}; {self.date}"
        )


def this_machine() -> Machine:
    """The machine at hand, today."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return Machine(
        cpu=names[0] if names else "unknown CPU",
        cores=len(os.sched_getaffinity(0)),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        transformers=transformers.__version__,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


def peak_flops(dtype: torch.dtype, *, size: int = 2048, rounds: int = 8) -> float:
    """The best of some square matrix products. Unit: operations per second."""
    left, right = torch.randn(2, size, size).to(dtype)
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
