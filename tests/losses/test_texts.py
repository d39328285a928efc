import json
import subprocess
import sys

import pytest

from preftune.losses import LOSSES
from preftune.losses.texts import TEXTS_FILE, loss_text
from tests.losses.docstrings import parse_docstring, texts_of_losses

FULL = """A sentence,
over two lines.

margin = beta * (a - b)
loss   = -log sigmoid(margin)     if good
         -log sigmoid(-margin)    if not

With u = 1 it is something else.

Use it when one
does. And so on.

Args:
    a, b: Rows. Shape: (pair,).
    beta: Reward, > 0:
        the higher
        the closer.
Returns:
    Loss. Shape: (pair,).
Raises:
    ValueError: no.
Source: Someone 2024, arXiv:2401.00001,
    Eq. 1.
Differs: no: it
    is the same.

>>> loss(1)
2
>>> loss(2)
4
"""


def test_every_part_is_found_and_put_on_a_line_but_formula_and_example() -> None:
    text = parse_docstring(FULL)
    assert text["summary"] == "A sentence, over two lines."
    assert text["formula"].splitlines()[2] == "         -log sigmoid(-margin)    if not"
    assert text["use"] == "Use it when one does. And so on."
    assert text["notes"] == ["With u = 1 it is something else."]
    assert text["arguments"] == {"a, b": "Rows. Shape: (pair,).", "beta": "Reward, > 0: the higher the closer."}
    assert text["returns"] == "Loss. Shape: (pair,)."
    assert text["source"] == "Someone 2024, arXiv:2401.00001, Eq. 1."
    assert text["differs"] == "no: it is the same."
    assert text["example"] == ">>> loss(1)\n2\n>>> loss(2)\n4"


def test_parts_that_are_not_there_are_empty() -> None:
    text = parse_docstring("A sentence.")
    assert text["summary"] == "A sentence."
    assert (text["formula"], text["use"], text["notes"], text["arguments"], text["example"]) == ("", "", [], {}, "")
    assert parse_docstring("")["summary"] == ""


def test_a_paragraph_between_sections_and_example_is_a_note() -> None:
    assert parse_docstring("One.\n\nSource: a.\n\nTwo more words.\n\n>>> 1\n1")["notes"] == ["Two more words."]


@pytest.mark.parametrize(
    "line", ["loss = -x", "odds(p) = p / (1 - p)", "beta' = 1", "tdpo1: loss = -x", "margin_i = 2", "u = a, v = b"]
)
def test_a_formula_is_a_name_an_equals_sign_and_more(line: str) -> None:
    assert parse_docstring(f"One.\n\n{line}\n\nTwo.")["formula"] == line


@pytest.mark.parametrize("line", ["With alpha = 1 it is that.", "At 0 it is DPO.", "It is = to that.", "sg: none."])
def test_a_sentence_is_no_formula(line: str) -> None:
    assert parse_docstring(f"One.\n\n{line}")["notes"] == [line]


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_says_all_that_its_page_needs(name: str) -> None:
    text = loss_text(LOSSES[name])
    for part in ("summary", "formula", "use", "returns", "source", "differs", "example"):
        assert getattr(text, part), part
    assert text.use.startswith("Use it when")
    assert "loss" in text.formula


def test_the_texts_are_those_of_the_docstrings() -> None:
    written = json.loads(TEXTS_FILE.read_text(encoding="utf-8"))
    assert written == texts_of_losses(), "texts.json is out of date. Run `python -m tests.losses.docstrings`."


_HELP = """
from preftune.cli.main import preftune
for line in (["methods"], ["methods", "dpo"], ["train", "--method", "dpo", "--help"]):
    preftune(line, standalone_mode=False)
    print("=====")
"""


def test_help_does_not_depend_on_docstrings() -> None:
    run = subprocess.run([sys.executable, "-OO", "-c", _HELP], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    methods, dpo, train, _ = run.stdout.split("=====")
    assert "beta 0.1" in methods
    assert "Reward per nat of logratio" in dpo
    assert "--beta" in train
