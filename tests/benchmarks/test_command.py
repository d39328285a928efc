"""`python -m benchmarks`: tiny sizes, results kept, the page made of them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.machine import this_machine
from benchmarks.memory import peak_bytes
from benchmarks.page import write_page
from benchmarks.results import Result, load, markdown_table, save
from benchmarks.turns import Times, in_turn
from benchmarks.workloads import WORKLOADS, make_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore")  # TRL's own warnings, and those it calls forth


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command sets variables for the libraries it runs."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.mark.parametrize(
    "arguments",
    [
        ["logp", "--only", "32k-fp32"],
        ["packing", "--only", "one-row-bf16", "lists-fp32", "growth-prompt", "growth-list", "growth-vocabulary"],
        ["overhead", "--only", "hh-bf16"],
        ["runs", "--only", "ultrafeedback-bf16"],
        ["gpu", "--only", "attention", "llama-1b-lora", "log-probs", "tests"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_smoke_size_of_each_benchmark_runs_and_is_kept(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("trl")
    options = ["--smoke", "--rounds", "2", "--skip-memory", "--results", str(tmp_path)]
    main([*arguments, *options])
    results = load(arguments[0], tmp_path)
    assert sorted(result.workload for result in results) == sorted(arguments[2:])
    assert all(result.rows and result.rounds == 2 for result in results)
    assert ("round 2/2" in capsys.readouterr().out) == (arguments[0] != "gpu")
    main([*arguments, *options, "--missing"])
    assert "round" not in capsys.readouterr().out
    page = write_page(tmp_path / "docs" / "benchmarks.md", tmp_path)
    assert results[0].workload in page.read_text()
    assert page.read_text().count("Not measured yet") == len(BENCHMARKS) - 1


def test_an_unknown_workload_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["logp", "--only", "nothing"])
    assert "no such workload" in capsys.readouterr().err


def test_the_list_names_every_workload(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list"])
    listed = capsys.readouterr().out
    assert all(workload in listed for benchmark in BENCHMARKS.values() for workload in benchmark.workloads())


def test_a_result_takes_the_place_of_the_one_for_the_same_workload(tmp_path: Path) -> None:
    for workload, seconds in (("a", 1.0), ("b", 2.0), ("a", 3.0)):
        save(Result("some", workload, this_machine(), 5, ({"seconds": seconds},)), tmp_path)
    kept = load("some", tmp_path)
    assert [(result.workload, result.rows[0]["seconds"]) for result in kept] == [("a", 3.0), ("b", 2.0)]


def test_numbers_are_shown_with_three_digits() -> None:
    table = markdown_table([{"seconds": 0.012345, "speed": 12345.6, "tokens": 12345, "none": None}])
    assert table.splitlines()[-1] == "| 0.0123 | 12,346 | 12,345 | |"


def test_sides_take_turns_and_the_warm_up_does_not_count() -> None:
    calls: list[str] = []

    def way(name: str, seconds: float) -> float:
        calls.append(name)
        return seconds

    times = in_turn({"a": lambda: way("a", 2.0), "b": lambda: way("b", 4.0)}, rounds=2)
    assert calls == ["a", "b"] * 3
    assert times["a"] == Times((2.0, 2.0))
    assert times["a"].times_faster_than(times["b"]) == 2.0


def allocate(num_bytes: int) -> Callable[[], object]:
    return lambda: b"1" * num_bytes


@pytest.mark.slow
def test_peak_memory_is_that_of_the_work() -> None:
    size = 200 << 20
    assert 0.95 * size <= peak_bytes(allocate, size, num_threads=1) < 1.2 * size


def test_words_are_tokens_one_by_one() -> None:
    workload = WORKLOADS["long-prompt"]
    [row, *_] = workload.rows(300)
    assert len(make_tokenizer(300)(row["prompt"])["input_ids"]) == 512
    assert len(make_tokenizer(300)(row["chosen"] + "<eos>")["input_ids"]) == 64
