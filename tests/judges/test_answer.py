import pytest

from preftune.judges.answer import read_choice
from preftune.judges.comparison import Choice


@pytest.mark.parametrize(
    ("answer", "choice"),
    [
        ("A names the date.\nBetter: A", "first"),
        ("Comparison: B is vague.\n\nBetter: B\n", "second"),
        ("Better: tie", "tie"),
        ("**Better: A**", "first"),
        ("- Better: `B`.", "second"),
        ('"A"', "first"),
        ("B", "second"),
        ("Preferred: A", "first"),
        ("More helpful: B", "second"),
        ("Better: Response B", "second"),
        ("[[A]]", "first"),
        ("Better: neither", "tie"),
        ("BETTER: a", "first"),
        ("Better: A\nBetter: B", "second"),
        ("Better: A\n\nLet me know if you want to hear more.", "first"),
    ],
)
def test_the_last_line_that_is_a_verdict_counts(answer: str, choice: Choice) -> None:
    assert read_choice(answer) == choice


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "A is better than B.",
        "A good answer would say more.",
        "I cannot say which one is better: A and B are both fine.",
        "Better: A or B, it depends.",
        "better",
        "Banana",
    ],
)
def test_prose_is_no_verdict(answer: str) -> None:
    assert read_choice(answer) == "unreadable"
