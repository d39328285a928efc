from pathlib import Path

import pytest

from preftune.errors import ConfigError
from preftune.groups import Message
from preftune.judges.judge import Choice, Question
from preftune.judges.template import TEMPLATES, JudgeTemplate, read_choice

PLACES = "{{ prompt }} {{ first }} {{ second }} "


@pytest.mark.parametrize("name", TEMPLATES)
def test_ours_show_everything_once_and_ask_for_a_verdict(name: str) -> None:
    text = JudgeTemplate.load(name).render(Question("THE PROMPT", "THE FIRST", "THE SECOND"))
    for part in ("THE PROMPT", "THE FIRST", "THE SECOND"):
        assert text.count(part) == 1
    assert text.index("THE FIRST") < text.index("THE SECOND")
    for line in ("Better: A", "Better: B", "Better: tie"):
        assert line in text.splitlines()


def test_conversations_are_shown_turn_by_turn() -> None:
    prompt = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Why?"))
    text = JudgeTemplate.load("dialogue").render(Question(prompt, "So.", "No."))
    assert "user: Hi\nassistant: Hello\nuser: Why?" in text


def test_completions_are_not_interpreted_as_templates() -> None:
    template = JudgeTemplate("mine", "{{ prompt }} {{ first }} {{ second }}")
    assert template.render(Question("p", "{{ prompt }}", "{% if %} <b>&")) == "p {{ prompt }} {% if %} <b>&"


def test_a_file_of_your_own_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("{{ prompt }}: {{ first }} or {{ second }}?")
    template = JudgeTemplate.load(str(file))
    assert template.render(Question("2+2", "4", "5")) == "2+2: 4 or 5?"
    assert template.digest != JudgeTemplate.load("dialogue").digest


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ prompt }} {{ first }}", r"uses the variables first, prompt\. Use"),
        ("{{ prompt }} {{ first }} {{ second }} {{ third }}", "uses the variables first, prompt, second, third"),
        ("plain", "uses the variables .none."),
        ("{{ prompt", "line 1: "),
        (PLACES + "{{ 1 / 0 }}", "cannot be filled in. ZeroDivisionError"),
        (PLACES + "{{ prompt.x.y }}", "cannot be filled in. UndefinedError"),
        (PLACES + "{% include 'other.jinja' %}", "cannot be filled in. TypeError"),
        (PLACES + "{{ prompt.__class__.__mro__[1].__subclasses__() }}", "cannot be filled in. SecurityError"),
        (PLACES + "{{ cycler.__init__.__globals__.os.system('touch x') }}", "uses the variables|cannot be filled in"),
        (PLACES + "{{ lipsum.__globals__['os'].popen('id').read() }}", "cannot be filled in"),
        (PLACES + "{% for i in range(10**9) %}{% endfor %}", "cannot be filled in. OverflowError"),
    ],
)
def test_an_invalid_template_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        JudgeTemplate("mine", text)


def test_a_byte_order_mark_is_no_part_of_a_template(tmp_path: Path) -> None:
    text = "{{ prompt }} {{ first }} {{ second }}"
    (tmp_path / "own.jinja").write_text("\ufeff" + text, encoding="utf-8")
    assert JudgeTemplate.load(str(tmp_path / "own.jinja")).text == text


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.jinja: cannot be read.*dialogue, summary, concise_summary"):
        JudgeTemplate.load(str(tmp_path / "nowhere.jinja"))


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
