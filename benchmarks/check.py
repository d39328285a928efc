"""Speed and memory of `preftune check`: `python -m benchmarks.check --rows 1000000`.

Writes a synthetic file of pairs, checks it in a process of its own and prints rows per second and peak memory.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["main", "synthetic_rows"]

_KIB = 1024
_NUM_WORDS = 20_000
_PROMPT_WORDS, _COMPLETION_WORDS = 25, 90
_DUPLICATE_SHARE = 0.01


def main(arguments: Sequence[str] | None = None) -> None:
    """Write, check, measure, print."""
    given = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="preftune-check-", dir=given.folder) as folder:
        path = Path(folder) / "pairs.jsonl"
        start = time.perf_counter()
        with path.open("w", encoding="utf-8") as file:
            for row in synthetic_rows(given.rows, seed=given.seed):
                file.write(json.dumps(row) + "\n")
        megabytes = path.stat().st_size / 1e6
        print(f"written: {given.rows:,} rows, {megabytes:,.0f} MB, {time.perf_counter() - start:.0f} s", flush=True)
        command = [sys.executable, "-m", "preftune", "check", str(path), "--fail-on", "never", *given.options]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=None if given.show else subprocess.DEVNULL)
        seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = used.ru_utime + used.ru_stime
    print(
        f"checked: {seconds:.0f} s, {busy:.0f} s of them on a core: {given.rows / busy:,.0f} rows per second of a core"
    )
    print(f"{given.rows / seconds:,.0f} rows per second, peak memory {used.ru_maxrss * _KIB / 2**20:,.0f} MiB")


def synthetic_rows(count: int, *, seed: int) -> Iterator[dict[str, str]]:
    """Pairs of random words, 25 in a prompt and about 90 in a completion; one row in a hundred repeats an earlier one.

    Args:
        count: How many rows.
        seed: Of the words.
    """
    rng = random.Random(seed)
    words = [f"{rng.choice('bcdfglmnprst')}{'aeiou'[index % 5]}{index:x}" for index in range(_NUM_WORDS)]
    kept: list[dict[str, str]] = []
    for _ in range(count):
        if kept and rng.random() < _DUPLICATE_SHARE:
            yield rng.choice(kept)
            continue
        row = {
            "prompt": " ".join(rng.choices(words, k=_PROMPT_WORDS)) + "?",
            "chosen": _sentence(rng, words),
            "rejected": _sentence(rng, words),
        }
        if len(kept) < 1000:
            kept.append(row)
        yield row


def _sentence(rng: random.Random, words: Sequence[str]) -> str:
    return " ".join(rng.choices(words, k=rng.randint(10, 2 * _COMPLETION_WORDS - 10))).capitalize() + "."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the file (default 1,000,000)")
    parser.add_argument("--seed", type=int, default=0, help="of the words (default 0)")
    parser.add_argument("--folder", type=Path, help="where the file is written for the time being (default: temporary)")
    parser.add_argument("--show", action="store_true", help="show the report as well")
    parser.add_argument("options", nargs="*", help="further options of preftune check, after --")
    return parser


if __name__ == "__main__":
    main()
