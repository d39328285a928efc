from pathlib import Path

import pytest

from preftune.errors import JudgeError
from preftune.judges.function import function_judge
from preftune.judges.judge import Question, Verdict

MODULE = """
def shorter(prompt, completion):
    return -len(completion)

def first(prompt, first, second):
    return "first"

def nonsense(prompt, first, second):
    return "maybe"

def not_finite(prompt, completion):
    return float("nan")

def with_option(prompt, completion, strict=True):
    return 1.0

def too_few(prompt):
    return 1.0

def raises(prompt, completion):
    return {}[completion]

def comparison_raises(prompt, first, second):
    return 1 / 0

def no_number(prompt, completion):
    return "good"

def no_choice(prompt, first, second):
    return None

number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"judges_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def verdicts(name: str, *questions: Question) -> list[Verdict]:
    found: dict[Question, Verdict] = {}
    function_judge(name).ask(questions, found.__setitem__)
    return [found[question] for question in questions]


def test_a_function_of_two_arguments_scores(module: str) -> None:
    judge = function_judge(f"{module}:shorter")
    assert (judge.name, judge.asks_both_orders) == (f"python:{module}:shorter", False)
    assert verdicts(f"{module}:shorter", Question("p", "a", "bb"), Question("p", "bb", "cc")) == [
        Verdict("first", scores=(-1.0, -2.0)),
        Verdict("tie", scores=(-2.0, -2.0)),
    ]


def test_arguments_with_defaults_do_not_count(module: str) -> None:
    assert verdicts(f"{module}:with_option", Question("p", "a", "b"))[0].choice == "tie"


def test_a_function_of_three_arguments_compares_in_both_orders(module: str) -> None:
    assert function_judge(f"{module}:first").asks_both_orders
    assert verdicts(f"{module}:first", Question("p", "a", "b")) == [Verdict("first")]


def test_verdicts_are_kept_until_the_file_changes(module: str, tmp_path: Path) -> None:
    before = function_judge(f"{module}:first").identity
    assert before == function_judge(f"{module}:first").identity
    (tmp_path / f"{module}.py").write_text(MODULE + "\n# another one\n")
    assert function_judge(f"{module}:first").identity != before


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("no_such_module:first", "cannot be imported. No module named"),
        ("{module}:no_such_function", "cannot be imported"),
        ("{module}:number", "is of type int"),
        ("{module}:too_few", "takes 1 arguments"),
    ],
)
def test_functions_that_are_not_judges_are_refused(name: str, problem: str, module: str) -> None:
    with pytest.raises(JudgeError, match=problem):
        function_judge(name.format(module=module))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nonsense", "gave 'maybe'"),
        ("not_finite", "gave the score nan"),
        ("no_choice", "gave None. It must give one of first, second, tie"),
        ("no_number", "gave the score 'good'. It must return a number"),
        ("raises", r"failed on 'a' \(KeyError: 'a', in .*judges_.*\.py, line \d+\)"),
        ("comparison_raises", r"failed on 'b' \(ZeroDivisionError: division by zero, in .*, line \d+\)"),
    ],
)
def test_an_invalid_verdict_is_named(name: str, problem: str, module: str) -> None:
    with pytest.raises(JudgeError, match=problem):
        verdicts(f"{module}:{name}", Question("p", "a", "b"))
