from typing import get_args

import pytest
import rich_click as click

from preftune.cli import check, clean, convert
from preftune.cli.options import output_flags
from preftune.data.convert import TARGETS
from preftune.settings import DataSettings, ModelSettings, Section
from preftune.settings.config import names_of
from preftune.settings.data_commands import (
    CheckChoice,
    CheckResult,
    CleaningRules,
    ConversionSettings,
    RowsFile,
    WrittenFormat,
)
from preftune.settings.setting import Command, settings_for


def test_the_formats_of_the_setting_are_those_that_can_be_written() -> None:
    assert get_args(WrittenFormat) == tuple(TARGETS)


@pytest.mark.parametrize(
    ("name", "command", "own"),
    [
        ("check", check.command, [CheckChoice, CheckResult]),
        ("clean", clean.command, [CleaningRules, RowsFile]),
        ("convert", convert.command, [ConversionSettings, RowsFile]),
    ],
)
def test_every_option_of_a_data_command_is_a_setting(
    name: Command, command: click.Command, own: list[type[Section]]
) -> None:
    shared = [item.name for section in (DataSettings, ModelSettings) for item in settings_for(name, section)]
    actions = {"data", "list_checks", *(flag.name for flag in output_flags())}
    options = {param.name for param in command.params}
    assert options - actions == {*shared, *names_of(own)} - {"data"}


def test_rules_are_empty_until_one_is_chosen() -> None:
    assert CleaningRules().is_empty
    assert CleaningRules(seed=3).is_empty
    for rules in (CleaningRules(drop_ties=0.0), CleaningRules(drop_unusable=True), CleaningRules(cap_per_prompt=1)):
        assert not rules.is_empty
