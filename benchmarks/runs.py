"""Whole training runs through the compatible API against TRL: pairs per second and peak memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from benchmarks.machine import peak_flops, this_machine
from benchmarks.memory import peak_bytes
from benchmarks.options import Options
from benchmarks.results import Result
from benchmarks.training_sides import SIDES, Case, Side, SideName, make_side, work_of
from benchmarks.turns import Times, in_turn
from benchmarks.workloads import FULL, SMOKE, WORKLOADS, ModelSize, Workload

__all__ = ["run", "workload_names"]

GIB = 1 << 30
BASE: SideName = "TRL at its best"
STEPS_PER_TURN: Mapping[SideName, int] = {
    "preftune": 4,
    "preftune, lists": 4,
    "preftune, a pair at a time": 3,
    "preftune, default settings": 3,
}
"""Steps of a turn; 1 for TRL, whose step takes as long as a turn of the others."""


@dataclass(frozen=True, slots=True)
class _Measured:
    times: Mapping[SideName, Times]
    sides: Mapping[SideName, Side]
    bytes: Mapping[SideName, int]


def workload_names() -> list[str]:
    """Names that `--only` accepts."""
    return [f"{name}-{dtype}" for dtype in ("bf16", "fp32") for name in WORKLOADS]


def run(name: str, options: Options) -> Result:
    """Measure one workload in one precision."""
    workload, size = WORKLOADS[name.rpartition("-")[0]], FULL
    if options.smoke:
        workload, size = workload.shrunk(factor=16, num_prompts=2), SMOKE
    case = Case(workload, size, bf16=name.endswith("-bf16"))
    measured = _measure(case, options)
    flops = peak_flops(torch.bfloat16 if case.bf16 else torch.float32, size=256 if options.smoke else 2048)
    return Result(
        "runs",
        name,
        this_machine(),
        options.rounds,
        rows=tuple(_rows(workload, size, measured, flops)),
        notes=tuple(_notes(workload, measured.sides, flops)),
    )


def _measure(case: Case, options: Options) -> _Measured:
    names = [side for side in SIDES if options.trl or not side.startswith("TRL")]
    if not case.workload.has_lists:
        names.remove("preftune, lists")
    cases = {name: replace(case, num_steps=STEPS_PER_TURN.get(name, 1)) for name in names}
    num_threads = torch.get_num_threads()
    used = {}
    if options.memory:
        for name in names:  # Before any model is in this process.
            used[name] = peak_bytes(work_of, (name, replace(case, num_steps=2)), num_threads=num_threads)
            print(f"    peak memory  {name}: {used[name] / GIB:.2f} GiB above the model", flush=True)
    sides = {}
    for name in names:
        sides[name] = make_side(name, cases[name])
        print(f"    set up  {name}: {sides[name].setup_seconds:.1f} s (data, reference beforehand)", flush=True)
    times = in_turn({name: side.turn for name, side in sides.items()}, rounds=options.rounds)
    return _Measured({name: times[name] for name in names}, sides, used)


def _rows(
    workload: Workload, size: ModelSize, measured: _Measured, flops: float
) -> Iterator[dict[str, str | int | float | None]]:
    num_pairs, operations = workload.num_pairs, useful_operations(workload, size)
    base, base_bytes = measured.times.get(BASE), measured.bytes.get(BASE)
    for name, times in measured.times.items():
        used = measured.bytes.get(name)
        yield {
            "side": name,
            "seconds per step": times.median,
            "best": times.best,
            "pairs per second": num_pairs / times.median,
            "useful tokens per second": workload.packed_tokens / times.median,
            f"speed against {BASE}": None if base is None else times.times_faster_than(base),
            "share of GEMM peak": f"{operations / times.median / flops:.0%}",
            "peak memory above the model, GiB": None if used is None else used / GIB,
            f"memory of {BASE}, times": None if used is None or base_bytes is None else base_bytes / max(used, 1),
        }


def useful_operations(workload: Workload, size: ModelSize, *, frozen: bool = False) -> float:
    """Multiplications and additions of forward and backward that cannot be left out: every prompt once, no padding.

    Attention is counted as what a causal sequence sees; the head at the tokens that predict.
    """
    seen = sum(
        prompt * (prompt + 1) / 2 + sum(length * (prompt + (length + 1) / 2) for length in answers)
        for prompt, *answers in workload.lengths
    )
    linear = size.num_layers * size.layer_weights * workload.packed_tokens
    head = size.hidden_size * size.vocabulary_size * workload.num_targets
    # Frozen weights need no gradient of their own; the adapter beside them is not counted.
    return (4 if frozen else 6) * (linear + head) + 6 * size.num_layers * 2 * size.hidden_size * seen


def _notes(workload: Workload, sides: Mapping[SideName, Side], flops: float) -> Sequence[str]:
    padding = 1 - workload.pair_tokens / workload.padded_tokens
    return [
        f"{workload.title}: {workload.packed_tokens:,} tokens packed, {workload.padded_tokens:,} in padded rows, "
        f"{padding:.0%} of these padding",
        f"fastest matrix product of this machine: {flops / 1e9:,.0f} GFLOP/s",
        "before the first step, excluded from the times: "
        + ", ".join(f"{name} {side.setup_seconds:.1f} s" for name, side in sides.items()),
        "loss and mean log-prob of the chosen answers, second step: "
        + ", ".join(
            f"{name} {side.logs[1]['loss']:.4f} and {side.logs[1]['logps/chosen']:.2f}" for name, side in sides.items()
        ),
    ]
