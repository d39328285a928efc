"""Measure preftune: `python -m benchmarks` runs everything, which takes an hour or two on two cores.

    python -m benchmarks --list                 what there is
    python -m benchmarks runs --only hh-bf16    one workload of one benchmark
    python -m benchmarks --missing              what has no result yet, as after an interruption
    python -m benchmarks --smoke                seconds: only to see that all of it works; nothing is kept
    python -m benchmarks --page                 docs/benchmarks.md from the results at hand

Each result is kept in benchmarks/results/ as soon as it is there. `python -m benchmarks.architectures` makes the table
of architectures.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import torch
import transformers

from benchmarks import gpu, logp, overhead, packing, runs
from benchmarks.options import Options
from benchmarks.page import write_page
from benchmarks.results import RESULTS, Result, load, markdown_table, save

__all__ = ["BENCHMARKS", "main"]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark: what it is, its workloads, and how one of them is run."""

    about: str
    workloads: Callable[[], list[str]]
    run: Callable[[str, Options], Result]


BENCHMARKS: Mapping[str, Benchmark] = {
    "runs": Benchmark("whole training runs against TRL", runs.workload_names, runs.run),
    "logp": Benchmark("the fused log-prob alone", logp.workload_names, logp.run),
    "packing": Benchmark("packed rows against one row and padded rows", packing.workload_names, packing.run),
    "overhead": Benchmark("overhead of the trainer", overhead.workload_names, overhead.run),
    "gpu": Benchmark("tests, kernels and training on a GPU", gpu.workload_names, gpu.run),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure, print, keep."""
    parser = _parser()
    given = parser.parse_args(arguments)
    chosen = [
        (name, workload) for name in given.benchmarks or _by_default() for workload in BENCHMARKS[name].workloads()
    ]
    if given.only:
        unknown = set(given.only) - {workload for _, workload in chosen}
        if unknown:
            parser.error(f"--only {' '.join(sorted(unknown))}: no such workload. --list shows them.")
        chosen = [(name, workload) for name, workload in chosen if workload in given.only]
    if given.list:
        print("\n".join(_listing()))
        return
    if given.page:
        print(f"written: {write_page()}")
        return
    folder: Path | None = given.results or (None if given.smoke else RESULTS)
    if given.missing and folder is not None:
        chosen = [(name, workload) for name, workload in chosen if not _is_known(name, workload, folder)]
    if given.threads:
        torch.set_num_threads(given.threads)
    options = Options(given.rounds, given.smoke, memory=not given.skip_memory, trl=not given.skip_trl)
    _run_all(chosen, options, folder)


def _run_all(chosen: Sequence[tuple[str, str]], options: Options, folder: Path | None) -> None:
    transformers.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1", TQDM_DISABLE="1")
    with tempfile.TemporaryDirectory(prefix="preftune-bench-") as cache:
        os.environ["PREFTUNE_CACHE"] = cache  # The user's own stays as it is.
        for number, (name, workload) in enumerate(chosen, start=1):
            print(f"\n[{number}/{len(chosen)}] {name}: {workload}", flush=True)
            start = time.perf_counter()
            result = BENCHMARKS[name].run(workload, options)
            print("\n".join(["", markdown_table(result.rows), "", *result.notes]), flush=True)
            where = f", kept in {save(result, folder)}" if folder else ""
            print(f"took {time.perf_counter() - start:.0f} s{where}", flush=True)


def _by_default() -> list[str]:
    """All that this machine can run."""
    return [name for name in BENCHMARKS if name != "gpu" or torch.cuda.is_available()]


def _is_known(name: str, workload: str, folder: Path) -> bool:
    return workload in {result.workload for result in load(name, folder)}


def _listing() -> Iterator[str]:
    for name, benchmark in BENCHMARKS.items():
        yield f"{name}: {benchmark.about}"
        known = {result.workload: result for result in load(name)}
        for workload in benchmark.workloads():
            date = f"measured on {known[workload].machine.date}" if workload in known else ""
            yield f"  {workload:24}{date}".rstrip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmarks", nargs="*", choices=[*BENCHMARKS, []], help="which (default all)")
    parser.add_argument("--only", nargs="+", metavar="WORKLOAD", help="these workloads alone")
    parser.add_argument("--rounds", type=int, default=5, help="times that each side is timed, in turn (default 5)")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes; nothing is kept unless --results is given")
    parser.add_argument("--missing", action="store_true", help="only what has no result yet")
    parser.add_argument("--skip-memory", action="store_true", help="do not measure peak memory")
    parser.add_argument("--skip-trl", action="store_true", help="leave TRL out")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice, one per core)")
    parser.add_argument("--results", type=Path, help=f"folder of the results (default {RESULTS})")
    parser.add_argument("--list", action="store_true", help="list benchmarks and workloads")
    parser.add_argument("--page", action="store_true", help="write docs/benchmarks.md and its pictures")
    return parser


if __name__ == "__main__":
    main()
