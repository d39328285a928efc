from pathlib import Path

import pytest

from preftune.training.health.page import health_page
from preftune.training.health.rule import RUN_SEVERITIES
from preftune.training.health.table import RULES

PAGE = Path(__file__).parents[3] / "docs" / "health.md"
RULE_FILES = Path(__file__).parents[3] / "src" / "preftune" / "training" / "health" / "rules"


def test_the_page_in_the_documents_is_what_the_table_says_now() -> None:
    is_same = PAGE.read_text(encoding="utf-8") == health_page()
    assert is_same, "docs/health.md is not of these rules. Run `python -m preftune.training.health > docs/health.md`."


def test_every_rule_is_in_the_overview_and_has_a_section() -> None:
    page = health_page()
    for name, rule in RULES.items():
        assert page.count(f"\n| [{name}](#{name}) | {rule.severity} |") == 1
        section = page.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
        assert rule.reason in section
        assert rule.advice in section


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.check is not None])
def test_every_rule_is_tested_on_a_run_made_sick(name: str) -> None:
    [file] = [file for file in RULE_FILES.glob("*.py") if f'name="{name}"' in file.read_text(encoding="utf-8")]
    tests = (Path(__file__).parent / "rules" / f"test_{file.stem}.py").read_text(encoding="utf-8")
    assert f', "{name}")' in tests


def test_texts_of_rules_read_as_parts_of_a_line() -> None:
    for rule in RULES.values():
        assert rule.severity in RUN_SEVERITIES
        assert rule.title[0].islower()
        assert rule.advice.endswith(".")
        assert not rule.reason.endswith(".")
        assert (rule.check is None) == (rule.severity == "fatal")
