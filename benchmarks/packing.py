"""Gain of packing: against the ideal of one unbroken row, against padded rows, and as sizes grow."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from benchmarks.forward_step import Lengths, StepCase, make_step, without_result
from benchmarks.machine import this_machine
from benchmarks.memory import peak_bytes
from benchmarks.options import Options
from benchmarks.results import Result, Row
from benchmarks.turns import Times, in_turn
from benchmarks.workloads import FULL, SMOKE, WORKLOADS, ModelSize, make_model

__all__ = ["GROWTHS", "run", "workload_names"]

GIB = 1 << 30
PACKED, PADDED = "packed, fused", "padded, fused"
GROWTHS = ("growth-prompt", "growth-list", "growth-vocabulary")


@dataclass(frozen=True, slots=True)
class _Point:
    """One row of a table of growth: what grows, its value, and the case for each way."""

    label: str
    value: int
    lengths: Lengths
    size: ModelSize


def workload_names() -> list[str]:
    """Names that `--only` accepts."""
    dtypes = ("bf16", "fp32")
    return [f"{name}-{dtype}" for name in ("one-row", "lists") for dtype in dtypes] + list(GROWTHS)


def run(name: str, options: Options) -> Result:
    """Measure one of the tables."""
    bf16 = not name.endswith("-fp32")
    if name.startswith("one-row"):
        rows, notes = _against_one_row(bf16, options), _ONE_ROW_NOTES
    elif name.startswith("lists"):
        rows, notes = _growth(_lists(options), bf16, options, [PACKED, PADDED]), _LISTS_NOTES
    else:
        ways = [PACKED, PADDED, *(["padded, all logits"] if name == "growth-vocabulary" else [])]
        rows, notes = _growth(_points(name, options), bf16, options, ways), _GROWTH_NOTES
    precision = "bfloat16 autocast" if bf16 else "float32"
    given = (f"forward, loss and backward of one step, {precision}", *notes)
    return Result("packing", name, this_machine(), options.rounds, rows=tuple(rows), notes=given)


_ONE_ROW_NOTES = ("one row: one sequence with as many tokens and targets, and PyTorch's causal attention",)
_LISTS_NOTES = ("one group: a prompt of 512 tokens and 8 completions",)
_GROWTH_NOTES = ("memory: peak of the step above the model, including its gradients",)


def _against_one_row(bf16: bool, options: Options) -> Iterator[Row]:
    size = SMOKE if options.smoke else FULL
    for workload in WORKLOADS.values():
        shown = workload.shrunk(16, 2) if options.smoke else workload
        lengths = tuple((prompt, tuple(answers)) for prompt, *answers in shown.lengths)
        packed = StepCase(PACKED, lengths, size, bf16)
        unbroken = ((shown.packed_tokens - shown.num_targets, (shown.num_targets,)),)
        print(f"  {shown.title}", flush=True)
        times = _times({PACKED: packed, "one row": StepCase(PADDED, unbroken, size, bf16)}, options)
        share = times[PACKED].times_faster_than(times["one row"])
        yield {
            "work": shown.title,
            "tokens": shown.packed_tokens,
            "packed, seconds": times[PACKED].median,
            "one row, seconds": times["one row"].median,
            "packed, tokens per second": shown.packed_tokens / times[PACKED].median,
            "speed against one row": f"{share:.0%}",
        }


def _lists(options: Options) -> Iterator[_Point]:
    size, prompt = (SMOKE, 32) if options.smoke else (FULL, 512)
    for length in (4, 8) if options.smoke else (32, 64, 128):
        yield _Point("completion tokens", length, ((prompt, (length,) * 8),), size)


def _points(name: str, options: Options) -> Iterator[_Point]:
    size, answer = (SMOKE, 6) if options.smoke else (FULL, 64)
    match name:
        case "growth-prompt":
            for prompt in (8, 16) if options.smoke else (64, 128, 256, 512, 1024, 2048):
                yield _Point("prompt tokens", prompt, ((prompt, (answer, answer)),) * 2, size)
        case "growth-list":
            for count in (2, 8) if options.smoke else (2, 3, 4, 6, 8):
                yield _Point("completions", count, ((8 * answer, (answer,) * count),), size)
        case _:
            pairs = ((2 * answer, (answer, answer)),) * 4
            for vocabulary in (300, 600) if options.smoke else (8_000, 32_000, 64_000, 128_000):
                yield _Point("vocabulary", vocabulary, pairs, replace(size, vocabulary_size=vocabulary))


def _growth(points: Iterator[_Point], bf16: bool, options: Options, ways: list[str]) -> Iterator[Row]:
    for point in points:
        print(f"  {point.label} {point.value:,}", flush=True)
        cases = {way: StepCase(way, point.lengths, point.size, bf16) for way in ways}
        num_threads = torch.get_num_threads()
        used = {
            way: peak_bytes(make_step, case, num_threads=num_threads) / GIB
            for way, case in cases.items()
            if options.memory
        }
        times = _times(cases, options)
        case = cases[PACKED]
        yield {
            point.label: point.value,
            "tokens packed": case.packed_tokens,
            "tokens padded": case.padded_tokens,
            **{f"{way}, seconds": times[way].median for way in ways},
            **{f"speed against {way}": times[PACKED].times_faster_than(times[way]) for way in ways[1:]},
            **{f"{way}, GiB": used.get(way) for way in ways},
        }


def _times(cases: Mapping[str, StepCase], options: Options) -> dict[str, Times]:
    """Seconds of each case in turn, all on one model."""
    [size] = {case.size for case in cases.values()}
    shared = make_model(size)
    steps = {name: without_result(make_step(case, shared)) for name, case in cases.items()}
    return in_turn(steps, rounds=options.rounds)
