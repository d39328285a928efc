import re
from pathlib import Path

from preftune.losses import LOSSES
from studies.enumerable import Outcome, World, page

DOCUMENT = Path(__file__).parents[3] / "docs" / "enumerable-world.md"


def test_the_page_in_docs_has_a_row_for_every_method_of_the_table() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text(), flags=re.MULTILINE))
    assert rows == set(LOSSES), "make it again: python -m studies.enumerable > docs/enumerable-world.md"


def test_methods_that_the_page_explains_are_in_the_table() -> None:
    text = page(World.drawn(), [])
    named = set(re.findall(r"`([a-z_]+)`", text.partition("## Why")[2]))
    assert named <= set(LOSSES)


def test_a_row_holds_the_numbers_or_the_reason_why_there_are_none() -> None:
    world = World.drawn()
    results = [
        Outcome("dpo", "pairs", world.optimum, "at rest"),
        Outcome("odd", "pairs", None, "left out: a table of logits has no entropies"),
    ]
    lines = page(world, results).splitlines()
    optimum = next(line for line in lines if line.startswith("| *pi")).split("|")[3:6]
    assert next(line for line in lines if "`dpo` |" in line).split("|")[3:6] == optimum
    assert "| `odd` | pairs |  |  |  | left out: a table of logits has no entropies |" in lines
