"""Kernels and training on a GPU, at the shapes of models that people tune."""

import gc
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from benchmarks.machine import peak_flops, seconds_now, this_machine
from benchmarks.options import Options
from benchmarks.results import Result, Row
from benchmarks.runs import useful_operations
from benchmarks.training_sides import Case, SideName, make_side
from benchmarks.turns import Times, in_turn
from benchmarks.workloads import SMOKE, WORKLOADS, ModelSize, Workload, make_groups
from preftune.model.forward.attention.block_attention import block_attention
from preftune.model.forward.attention.segment_attention import AttentionPlan, segment_attention
from preftune.model.forward.attention.varlen_attention import VarlenAttention, find_varlen_attention
from preftune.model.forward.head.linear_logp import linear_logp, plain_linear_logp
from preftune.model.forward.head.tiles import DEFAULT_TILES, Tiles
from preftune.model.forward.packed_batch import pack

__all__ = ["run", "workload_names"]

GIB = 1 << 30
TWIN = "segment by segment"
LLAMA_1B = ModelSize(2048, 16, 8192, 32, 128_256, num_key_heads=8, tied=True)
LLAMA_8B = ModelSize(4096, 32, 14_336, 32, 128_256, num_key_heads=8)
QWEN_2B = ModelSize(2048, 28, 6144, 16, 151_936, "qwen3", num_key_heads=8, head_width=128, tied=True)
QWEN_8B = ModelSize(4096, 36, 12_288, 32, 151_936, "qwen3", num_key_heads=8, head_width=128)
Device = Literal["cpu", "cuda"]
_Measured = tuple[list[Row], list[str]]
_LENGTHS = ("hh", "long-prompt", "ultrafeedback")


@dataclass(frozen=True, slots=True)
class _Training:
    """Training of a model: all weights or an adapter, at these lengths.

    Args:
        repeats: Times that the pairs of the workload stand in a step, with other tokens.
        trl: Workloads that TRL takes part in: it takes the most time.
    """

    size: ModelSize
    lora: bool
    lengths: tuple[str, ...] = _LENGTHS
    repeats: int = 4
    trl: tuple[str, ...] = _LENGTHS


_TRAININGS: Mapping[str, _Training] = {
    "llama-1b-full": _Training(LLAMA_1B, lora=False),
    "llama-1b-lora": _Training(LLAMA_1B, lora=True),
    "qwen-2b-full": _Training(QWEN_2B, lora=False, trl=("hh",)),
    "llama-8b-lora": _Training(LLAMA_8B, lora=True, repeats=2, trl=("hh",)),
    "qwen-8b-lora": _Training(QWEN_8B, lora=True, lengths=("hh",), repeats=2, trl=()),
    "llama-8b-full": _Training(LLAMA_8B, lora=False, lengths=("hh",), repeats=2, trl=()),
}


def workload_names() -> list[str]:
    """Names that `--only` accepts."""
    return ["tests", "attention", "log-probs", *_TRAININGS]


def run(name: str, options: Options) -> Result:
    """Measure one workload on the GPU; with `options.smoke`, try its code at tiny sizes on any machine.

    Raises:
        SystemExit: there is no GPU.
    """
    has_gpu = torch.cuda.is_available()
    if not has_gpu and not options.smoke:
        raise SystemExit("gpu: needs a CUDA GPU, and PyTorch finds none. --smoke tries the code on the CPU.")
    device: Device = "cuda" if has_gpu else "cpu"
    match name:
        case "tests":
            rows, notes = _tests(options)
        case "attention":
            rows, notes = _attention(device, options)
        case "log-probs":
            rows, notes = _logps(device, options)
        case _:
            rows, notes = _training(_TRAININGS[name], device, options)
    return Result("gpu", name, this_machine(gpu=has_gpu), options.rounds, tuple(rows), tuple(notes))


def _tests(options: Options) -> _Measured:
    """The tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/model", "tests/runs"]
    if options.smoke:
        command.append("--collect-only")
    folder = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr, flush=True)
    closing = done.stdout.strip().rpartition("\n")[2]
    return [{"tests that need a GPU": closing, "exit code": done.returncode}], []


def _attention(device: Device, options: Options) -> _Measured:
    """Shared-prompt attention of one layer of Llama 8B, forward and backward, on a packed row."""
    heads, key_heads, width = (4, 2, 8) if options.smoke else (32, 8, 128)
    rows: list[Row] = []
    for name in (*_LENGTHS, "lists"):
        workload = _repeated(WORKLOADS[name].shrunk(16, 2) if options.smoke else WORKLOADS[name], 4)
        groups = make_groups([(prompt, tuple(answers)) for prompt, *answers in workload.lengths], 300)
        plan = AttentionPlan(pack(groups).spans)
        inputs = [
            torch.randn(count, plan.num_tokens, width, device=device, dtype=torch.bfloat16, requires_grad=True)
            for count in (heads, key_heads, key_heads)
        ]
        ways = _attention_ways(plan, device, scaling=width**-0.5)
        exact = _results(ways[TWIN], [tensor.detach().float().requires_grad_() for tensor in inputs])
        rows += [
            {
                "lengths": workload.title,
                "tokens": plan.num_tokens,
                "attention": way,
                "ms": 1000 * times.median,
                "error": f"{_error(_results(ways[way], inputs), exact):.1e}",
            }
            for way, times in _timed(ways, inputs, options).items()
        ]
    note = (
        f"one layer, {heads} heads of width {width}, {key_heads} key heads, bfloat16; forward and backward; error: "
        "largest relative distance (norm) of output and gradients to float32"
    )
    return rows, [note]


def _attention_ways(plan: AttentionPlan, device: Device, *, scaling: float) -> dict[str, Callable[..., Tensor]]:
    """Attention over a packed row, by name; the twin in plain torch is called `TWIN`."""
    ways: dict[str, Callable[..., Tensor]] = {TWIN: lambda q, k, v: segment_attention(q, k, v, plan, scaling=scaling)}
    kernel = find_varlen_attention()
    if device == "cuda" and isinstance(kernel, VarlenAttention):
        keys = plan.segment_keys(torch.device(device))
        ways[kernel.name] = lambda q, k, v: kernel.attend(q, k, v, keys, scaling=scaling, window=None)
    else:
        blocks = plan.blocks(None)
        ways["block by block"] = lambda q, k, v: block_attention(q, k, v, blocks, scaling=scaling)
    return ways


def _logps(device: Device, options: Options) -> _Measured:
    """Log-probs under the head of Llama 8B, forward and backward."""
    tokens, width, vocabulary = (64, 16, 300) if options.smoke else (8192, 4096, 128_256)
    dtype = torch.bfloat16
    hidden = torch.randn(tokens, width, device=device, dtype=dtype, requires_grad=True)
    weight = (torch.randn(vocabulary, width, device=device) * width**-0.5).to(dtype).requires_grad_()
    targets = torch.randint(vocabulary, (tokens,), device=device)
    flops = peak_flops(dtype, size=128 if options.smoke else 8192, device=device)

    ways: dict[str, Callable[..., Tensor]] = {"all logits": lambda h, w: plain_linear_logp(h, w, targets)}
    for tiles in (DEFAULT_TILES, Tiles(2048, 8192), Tiles.on(torch.device("cuda")), Tiles(8192, 16_384)):
        name = f"tiles of {tiles.tokens:,} x {tiles.vocabulary:,}"
        ways[name] = lambda h, w, tiles=tiles: linear_logp(h, w, targets, tiles=tiles)
    exact = linear_logp(hidden.detach().float(), weight.detach().float(), targets)
    rows: list[Row] = []
    for way, times in _timed(ways, [hidden, weight], options).items():
        used, found = _peak(device, lambda way=ways[way]: _results(way, [hidden, weight])[0])  # type: ignore[misc]
        rows.append(
            {
                "log-probs": way,
                "ms": 1000 * times.median,
                "share of GEMM peak": f"{6 * tokens * width * vocabulary / times.median / flops:.0%}",
                "memory above the inputs, GiB": used / GIB,
                "error": f"{float((found - exact).abs().max()):.0e}",
            }
        )
    return rows, [
        f"{tokens:,} tokens, hidden {width}, vocabulary {vocabulary:,}, bfloat16; forward and backward",
        f"matrix peak: {flops / 1e12:,.0f} TFLOP/s; error: largest difference of a log-prob to float32",
    ]


def _results(way: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    output = way(*inputs)
    return [output.detach(), *torch.autograd.grad(output, inputs, torch.ones_like(output))]


def _error(found: list[Tensor], exact: list[Tensor]) -> float:
    pairs = zip(found, exact, strict=True)
    return max(float((one.float() - other).norm() / other.norm()) for one, other in pairs)


def _timed(ways: Mapping[str, Callable[..., Tensor]], inputs: list[Tensor], options: Options) -> dict[str, Times]:
    """Seconds of a forward and backward each, from several at a time."""
    repeats = 1 if options.smoke else 4

    def timed(way: Callable[..., Tensor]) -> float:
        start = seconds_now()
        for _ in range(repeats):
            _results(way, inputs)
        return (seconds_now() - start) / repeats

    works = {name: (lambda way=way: timed(way)) for name, way in ways.items()}
    return in_turn(works, rounds=options.rounds, show=False)


def _peak(device: Device, work: Callable[[], Tensor]) -> tuple[int, Tensor]:
    """Memory that the work adds, 0 on a CPU, and its result."""
    if device == "cpu":
        return 0, work()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = work()
    return torch.cuda.max_memory_allocated() - before, result


def _training(training: _Training, device: Device, options: Options) -> _Measured:
    """Steps of whole runs, one side after the other, because two big models do not fit."""
    flops = peak_flops(torch.bfloat16, size=128 if options.smoke else 8192, device=device)
    rows: list[Row] = []
    trained = "LoRA of rank 16" if training.lora else "all weights"
    notes = [f"weights and products bfloat16, {trained}, AdamW; matrix peak: {flops / 1e12:,.0f} TFLOP/s"]
    for name in training.lengths[:1] if options.smoke else training.lengths:
        case = _case(training, name, device, smoke=options.smoke)
        with_trl = options.trl and name in training.trl
        sides: tuple[SideName, ...] = ("preftune", "padded, fused", *(("TRL at its best",) if with_trl else ()))
        ours = None
        for side in sides:
            seconds, used, losses = _steps(side, case, options)
            ours = ours or seconds
            rows.append(_row(case, side, seconds, ours, used, flops))
            notes.append(f"{name}: first losses of {side}: {', '.join(f'{loss:.4f}' for loss in losses[:2])}")
            print(f"    {side}, {name}: {seconds:.3f} s a step", flush=True)
    return rows, notes


def _case(training: _Training, name: str, device: Device, *, smoke: bool) -> Case:
    size, workload = training.size, WORKLOADS[name]
    if smoke:
        workload = workload.shrunk(16, 2)
        size = replace(size, hidden_size=32, num_layers=2, intermediate_size=48, num_heads=2, num_key_heads=1)
        size = replace(size, vocabulary_size=SMOKE.vocabulary_size, head_width=None)
    workload = _repeated(workload, training.repeats)
    return Case(
        workload,
        size,
        bf16=True,
        num_steps=2,
        device=device,
        weights=torch.bfloat16,
        lora=training.lora,
        pairs_per_forward=4,
        max_tokens=max(8192, workload.biggest_pair),
    )


def _repeated(workload: Workload, times: int) -> Workload:
    """The same lengths several times, with other tokens."""
    return Workload(f"{workload.title}, {times} times", workload.lengths * times)


def _steps(side: SideName, case: Case, options: Options) -> tuple[float, int, list[float]]:
    """Median seconds per step, peak memory, and the losses of the first turn."""
    _release()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    made = make_side(side, case)
    made.turn()
    times = sorted(made.turn() for _ in range(options.rounds))
    used = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    losses = [log["loss"] for log in made.logs]
    del made
    _release()
    return times[len(times) // 2], used, losses


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _row(case: Case, side: SideName, seconds: float, ours: float, used: int, flops: float) -> Row:
    operations = useful_operations(case.workload, case.size, frozen=case.lora)
    return {
        "lengths": case.workload.title,
        "side": side,
        "seconds per step": seconds,
        "pairs per second": case.workload.num_pairs / seconds,
        "useful tokens per second": case.workload.packed_tokens / seconds,
        "times as long as preftune": seconds / ours,
        "share of GEMM peak": f"{operations / seconds / flops:.0%}",
        "peak memory, GiB": used / GIB,
    }
