from preftune.groups import Completion, Origin, Pair, PromptGroup
from preftune.runs.sample_prompts import sample_prompts
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
