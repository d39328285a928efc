"""The meaning of settings: their ranges, their effect, and the commands that take them."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from preftune.settings import SECTIONS, SETTINGS, Section
from preftune.settings.evaluation_config import SECTIONS as EVALUATION_SECTIONS
from preftune.settings.setting import Interval, setting, settings_of
from preftune.settings.sweep_sections import SweepSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class Numbers(Section):
    title: ClassVar[str] = "Numbers"

    count: int | None = setting(None, "A count.", within="[1, inf)")
    shares: list[float] = setting([], "Shares.", within="(0, 1]", because="as shares")
    budget: int | str = setting("auto", "Tokens.", within="[2, inf)")


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("[1, inf)", [1, 10**9], [0, float("inf"), float("nan")]),
        ("(0, inf]", [1e-9, float("inf")], [0, -1, float("nan")]),
        ("[0, 1)", [0, 0.5], [1, -0.1]),
        ("(0, 1]", [0.1, 1], [0, 1.1]),
    ],
)
def test_an_interval_holds_the_ends_that_its_brackets_include(
    text: str, inside: list[float], outside: list[float]
) -> None:
    interval = Interval.parse(text)
    assert all(number in interval for number in inside)
    assert not any(number in interval for number in outside)


def test_numbers_out_of_range_are_problems_each() -> None:
    assert list(Numbers(count=0, shares=[0.5, 2.0, 0.0], budget=1).problems()) == [
        "count = 0: must be at least 1.",
        "shares = 2.0: must be in (0, 1], as shares.",
        "shares = 0.0: must be in (0, 1], as shares.",
        "budget = 1: must be at least 2.",
    ]


def test_none_text_and_numbers_in_range_are_no_problem() -> None:
    assert list(Numbers(count=None, shares=[1.0], budget="auto").problems()) == []


def test_every_section_has_a_title_that_survives_python_without_docstrings() -> None:
    sections: list[type[Section]] = [*SECTIONS.values(), *EVALUATION_SECTIONS.values(), SweepSettings]
    assert all(section.title and section.title != section.__doc__ for section in sections)


def test_defaults_are_within_their_ranges() -> None:
    for section in [*SECTIONS.values(), *EVALUATION_SECTIONS.values(), SweepSettings]:
        for item in settings_of(section):
            assert list(item.problems(item.default)) == [], item.name


def test_a_run_resumes_with_other_outputs_speed_and_schedule_only() -> None:
    may_change = {name for name, item in SETTINGS.items() if item.changes != "result"}
    assert may_change == {
        *("output", "overwrite", "resume", "log_every", "eval_every", "save_every", "keep_checkpoints", "report_to"),
        *("run_name", "num_processes", "reference_cache", "stop_on_sick", "check_data", "eval_kl"),
    }


def test_settings_of_the_held_out_data_are_known_as_such() -> None:
    held_out = [name for name, item in SETTINGS.items() if item.decides == "held out"]
    assert held_out == ["eval_data", "eval_split", "eval_fraction"]
