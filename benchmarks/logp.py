"""The fused log-prob alone: seconds and memory of forward and backward at growing vocabularies."""

from collections.abc import Iterator

import torch

from benchmarks.forward_step import without_result
from benchmarks.logp_sides import BASE, LOGP_SIDES, LogpCase, forward_backward
from benchmarks.machine import peak_flops, this_machine
from benchmarks.memory import peak_bytes
from benchmarks.options import Options
from benchmarks.results import Result, Row
from benchmarks.turns import Times, in_turn

__all__ = ["run", "workload_names"]

GIB = 1 << 30
_VOCABULARIES = {"32k": 32_000, "128k": 128_000}


def workload_names() -> list[str]:
    """Names that `--only` accepts."""
    return [f"{vocabulary}-{dtype}" for vocabulary in _VOCABULARIES for dtype in ("fp32", "bf16")]


def run(name: str, options: Options) -> Result:
    """Measure one vocabulary in one precision."""
    vocabulary, _, dtype = name.partition("-")
    case = LogpCase(4096, 512, _VOCABULARIES[vocabulary], bf16=dtype == "bf16")
    if options.smoke:
        case = LogpCase(64, 16, _VOCABULARIES[vocabulary] // 100, bf16=dtype == "bf16")
    sides = [side for side in LOGP_SIDES if options.trl or not side.startswith("TRL")]
    num_threads = torch.get_num_threads()
    used = {}
    for side in sides if options.memory else ():
        used[side] = peak_bytes(forward_backward, (side, case), num_threads=num_threads)
        print(f"    peak memory  {side}: {used[side] / GIB:.2f} GiB above the inputs", flush=True)
    errors = _errors(case, sides)  # Warms up as well.
    works = {side: forward_backward((side, case)) for side in sides}
    times = in_turn({side: without_result(work) for side, work in works.items()}, rounds=options.rounds, warm_up=0)
    flops = peak_flops(torch.bfloat16 if case.bf16 else torch.float32, size=256 if options.smoke else 2048)
    return Result(
        "logp",
        name,
        this_machine(),
        options.rounds,
        rows=tuple(_rows(case, times, used, errors, flops)),
        notes=(
            f"{case.num_tokens:,} tokens, hidden {case.hidden_size}, vocabulary {case.vocabulary_size:,}, "
            f"{'bfloat16 autocast' if case.bf16 else 'float32'}; forward and backward",
            f"fastest matrix product of this machine: {flops / 1e9:,.0f} GFLOP/s",
            "memory includes the gradients of hidden and weights; error: largest difference of a log-prob from float32",
        ),
    )


def _errors(case: LogpCase, sides: list[str]) -> dict[str, float]:
    """Largest difference of a log-prob to that of plain float32."""
    exact = forward_backward((BASE, LogpCase(case.num_tokens, case.hidden_size, case.vocabulary_size, bf16=False)))()
    return {side: float((forward_backward((side, case))() - exact).abs().max()) for side in sides}


def _rows(
    case: LogpCase, times: dict[str, Times], used: dict[str, int], errors: dict[str, float], flops: float
) -> Iterator[Row]:
    operations = 6 * case.num_tokens * case.hidden_size * case.vocabulary_size
    base_bytes = used.get(BASE)
    for side, spent in times.items():
        side_bytes = used.get(side)
        yield {
            "side": side,
            "seconds": spent.median,
            "best": spent.best,
            f"speed against {BASE}": spent.times_faster_than(times[BASE]),
            "share of GEMM peak": f"{operations / spent.median / flops:.0%}",
            "peak memory above the inputs, GiB": None if side_bytes is None else side_bytes / GIB,
            f"memory of {BASE}, times": (
                None if side_bytes is None or base_bytes is None else base_bytes / max(side_bytes, 1)
            ),
            "error": f"{errors[side]:.0e}",
        }
