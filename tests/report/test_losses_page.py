import re
from pathlib import Path

import pytest

from preftune.losses import LOSSES, loss_options
from preftune.report.losses_page import losses_page

PAGE = Path(__file__).parents[2] / "docs" / "losses.md"


@pytest.fixture(scope="module")
def page() -> str:
    return losses_page()


def section(page: str, name: str) -> str:
    return page.partition(f"\n### {name}\n")[2].partition("\n### ")[0].partition("\n## ")[0]


def test_the_page_in_the_documents_is_what_the_command_writes_now(page: str) -> None:
    is_same = PAGE.read_text(encoding="utf-8") == page
    assert is_same, "docs/losses.md is not of these losses. Run `preftune methods --page docs/losses.md`."


@pytest.mark.parametrize("name", LOSSES)
def test_every_method_has_a_row_and_a_section(name: str, page: str) -> None:
    assert page.count(f"\n| [{name}](#{name}) |") == 1
    text = section(page, name)
    assert "```\n" in text
    assert "\nUse it when" in text
    assert ("\nNeeds: a reference" in text) == LOSSES[name].needs_reference
    assert "Averaged over: " in text
    assert "\nSource: " in text
    assert "\nDiffers: " in text
    for option in loss_options(LOSSES[name]):
        assert f"\n| `{option.name}` |" in text


def test_rows_of_a_table_have_as_many_cells_as_its_head(page: str) -> None:
    blocks = [block for block in page.split("\n\n") if block.startswith("|")]
    for block in blocks:
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(cells) == 1, block


def test_papers_are_links(page: str) -> None:
    assert "[arXiv:2305.18290](https://arxiv.org/abs/2305.18290)" in section(page, "dpo")
    assert len(re.findall(r"(?<!\[)arXiv:\d", page)) == 0
