"""The table of rules. A new rule is a function and its row in a file of `rules/`, and a sick run in the tests."""

from collections.abc import Mapping

from preftune.training.health.rule import HealthRule
from preftune.training.health.rules import drift, held_out, loss, rewards

RULES: Mapping[str, HealthRule] = {rule.name: rule for file in (loss, drift, rewards, held_out) for rule in file.RULES}
