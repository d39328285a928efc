"""The table of checks. A new check is a class with its rows of texts in a file here, listed in the file's `CHECKS`."""

from collections.abc import Collection, Mapping

from preftune.data.quality.check import Check
from preftune.data.quality.checks import amounts, completions, contradictions, pairs, repeats, shortcuts, texts
from preftune.errors import ConfigError, did_you_mean

__all__ = ["CHECKS", "chosen_checks"]

CHECKS: Mapping[str, type[Check]] = {
    check.name: check
    for file in (amounts, texts, completions, pairs, contradictions, repeats, shortcuts)
    for check in file.CHECKS
}


def chosen_checks(only: Collection[str] = (), skip: Collection[str] = ()) -> list[str]:
    """Names of the checks to run, in the order of the table.

    Args:
        only: Run these alone; empty: all.
        skip: Do not run these.
    Raises:
        ConfigError: a name that is not in the table, or no check left.

    >>> chosen_checks(only=["margins", "counts"])
    ['counts', 'margins']
    """
    problems = [
        _unknown(option, name)
        for option, names in (("only", only), ("skip", skip))
        for name in names
        if name not in CHECKS
    ]
    chosen = [name for name in CHECKS if (not only or name in only) and name not in skip]
    if not chosen and not problems:
        problems.append("only and skip: no check is left. Leave one of them out.")
    if problems:
        raise ConfigError(problems)
    return chosen


def _unknown(option: str, name: str) -> str:
    hint = did_you_mean(name, CHECKS) or f"The checks are: {', '.join(CHECKS)}."
    return f"{option} = {name}: there is no such check. {hint}"
