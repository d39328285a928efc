from pathlib import Path

import pytest

from preftune.errors import DataError
from preftune.groups import Completion, Message, Origin, Pair, PromptGroup
from preftune.runs.samples import Sample, SamplesFile, SamplesLine, sample_prompts
from tests.builders import prompt_group
from tests.data.tokenizers_for_tests import make_tokenizer

TOKENIZER = make_tokenizer()


def groups(*prompts: str) -> list[PromptGroup]:
    return [
        PromptGroup(prompt, (Completion("no"), Completion("yes")), (Pair(1, 0),), Origin("f", row))
        for row, prompt in enumerate(prompts, start=1)
    ]


def chosen_of(prompts: list[str], count: int, longest: int | None = None) -> list[object]:
    return list(sample_prompts(groups(*prompts), TOKENIZER, count=count, longest=longest, best_effort=True).texts)


def test_they_are_spread_evenly_over_distinct_prompts() -> None:
    prompts = [f"What is {number}+1?" for number in range(10) for _ in range(number + 1)]
    assert chosen_of(prompts, 5) == [f"What is {number}+1?" for number in (0, 2, 4, 6, 8)]


def test_there_are_no_more_than_the_data_have() -> None:
    assert chosen_of(["a", "b", "a"], 8) == ["a", "b"]
    assert chosen_of(["a"], 0) == []
    assert chosen_of([], 8) == []


def test_prompts_that_leave_no_room_are_replaced_by_the_next() -> None:
    long = "What is 1+1 and what is 2+2 and 3+3? " * 4
    assert chosen_of([long, "a", "b", "c"], 2, longest=8) == ["a", "b"]
    assert chosen_of([long, long + "?", "b", "c"], 2, longest=8) == ["b"]


def test_prompts_without_groups_are_spread_evenly_too() -> None:
    found = sample_prompts([f"prompt {n}" for n in (0, 0, 1, 2, 3, 3, 4, 5)], TOKENIZER, count=3, longest=None)
    assert found.texts == ("prompt 0", "prompt 2", "prompt 4")
    assert found.chosen == (None,) * 3
    assert str(found) == "samples: of 3 of 6 prompts"


def test_all_are_taken_if_there_are_few() -> None:
    assert sample_prompts(["a", "b"], TOKENIZER, count=10, longest=None).texts == ("a", "b")
    assert len(sample_prompts(["a", "b"], TOKENIZER, count=None, longest=None).texts) == 2


def test_prompts_that_leave_no_room_are_left_out_and_counted() -> None:
    found = sample_prompts(["a", "word " * 50], TOKENIZER, count=None, longest=10)
    assert (found.texts, found.num_too_long) == (("a",), 1)
    assert "1 leave no room for --max-new-tokens" in str(found)
    with pytest.raises(DataError, match="all 1 prompts are longer than 10 tokens"):
        sample_prompts(["word " * 50], TOKENIZER, count=None, longest=10)


def test_the_chosen_answer_is_the_best_that_the_data_have() -> None:
    origin = Origin("doc", 1)
    data = [
        prompt_group("pair", "bad", "good", pairs=(Pair(1, 0),)),
        PromptGroup("scores", (Completion("a", score=1.0), Completion("b", score=3.0)), (), origin),
        PromptGroup("thumbs", (Completion("a", desirable=False),), (), origin),
        PromptGroup(
            (Message("user", "Hi"),),
            (Completion((Message("assistant", "Hello"),)), Completion((Message("assistant", "Go"),))),
            (Pair(0, 1),),
            origin,
        ),
    ]
    found = sample_prompts(data, TOKENIZER, count=None, longest=None)
    assert found.chosen == ("good", "b", None, "Hello")


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


def test_later_steps_are_dropped_on_resume(file: SamplesFile) -> None:
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
