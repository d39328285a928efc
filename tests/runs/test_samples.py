from pathlib import Path

import pytest

from preftune.groups import Completion, Origin, Pair, PromptGroup
from preftune.runs.samples import Sample, SamplesFile, SamplesLine, sample_prompts
from tests.data.tokenizers_for_tests import make_tokenizer

TOKENIZER = make_tokenizer()


def groups(*prompts: str) -> list[PromptGroup]:
    return [
        PromptGroup(prompt, (Completion("no"), Completion("yes")), (Pair(1, 0),), Origin("f", row))
        for row, prompt in enumerate(prompts, start=1)
    ]


def chosen_of(prompts: list[str], count: int, longest: int | None = None) -> list[object]:
    return [item.prompt for item in sample_prompts(groups(*prompts), TOKENIZER, count=count, longest=longest)]


def test_they_are_spread_evenly_over_distinct_prompts() -> None:
    prompts = [f"What is {number}+1?" for number in range(10) for _ in range(number + 1)]
    assert chosen_of(prompts, 5) == [f"What is {number}+1?" for number in (0, 2, 4, 6, 8)]


def test_there_are_no_more_than_the_data_have() -> None:
    assert chosen_of(["a", "b", "a"], 8) == ["a", "b"]
    assert chosen_of(["a"], 0) == []
    assert chosen_of([], 8) == []


def test_those_that_leave_no_room_are_passed_over_for_the_next() -> None:
    long = "What is 1+1 and what is 2+2 and 3+3? " * 4
    assert chosen_of([long, "a", "b", "c"], 2, longest=8) == ["a", "b"]
    assert chosen_of([long, long + "?", "b", "c"], 2, longest=8) == ["b"]


def test_they_know_the_better_answer_of_the_data() -> None:
    (found,) = sample_prompts(groups("a"), TOKENIZER, count=1, longest=None)
    assert found.chosen == "yes"
    bad = PromptGroup("a", (Completion("no", desirable=False),), (), Origin("f", 1))
    (found,) = sample_prompts([bad], TOKENIZER, count=1, longest=None)
    assert found.chosen is None


@pytest.fixture
def file(tmp_path: Path) -> SamplesFile:
    file = SamplesFile(tmp_path / "samples.jsonl")
    for step in (0, 5, 10):
        file.append(SamplesLine(step=step, samples=(Sample("a", "ä\u2028"),)))
    return file


def steps(file: SamplesFile) -> list[int]:
    return [line.step for line in file.lines()]


def test_a_step_is_written_once(file: SamplesFile) -> None:
    file.append(SamplesLine(step=5))
    assert steps(file) == [0, 5, 10]
    assert file.line_of(5) == SamplesLine(step=5, samples=(Sample("a", "ä\u2028"),))


def test_later_steps_are_dropped_where_the_run_goes_on(file: SamplesFile) -> None:
    file.keep_until(5)
    assert steps(file) == [0, 5]


def test_a_line_cut_short_does_not_spoil_the_next(file: SamplesFile, tmp_path: Path) -> None:
    with (tmp_path / "samples.jsonl").open("a") as torn:
        torn.write('{"step": 15, "sam')
    assert steps(file) == [0, 5, 10]
    file.keep_until(10)
    file.append(SamplesLine(step=15))
    assert steps(file) == [0, 5, 10, 15]


def test_there_may_be_no_file_yet(tmp_path: Path) -> None:
    file = SamplesFile(tmp_path / "none.jsonl")
    file.keep_until(0)
    assert steps(file) == []
    assert file.line_of(0) is None
