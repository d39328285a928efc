"""Rules and findings, of data checks and of a run's health alike."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["fatal", "error", "sick", "warning", "suspect", "note"]
"""One scale. Data checks report errors, warnings and notes; rules on a run's health fatal, sick and suspect.

fatal: the run ends before its weights change. error: correct the data before training. sick: the trained model will be
unusable; `stop_on_sick` ends the run. warning, suspect: look into it before training, or before the model is used.
note: good to know.
"""

SEVERITIES: tuple[Severity, ...] = ("fatal", "error", "sick", "warning", "suspect", "note")
"""The worst first."""


def is_as_severe(severity: Severity, bound: Severity) -> bool:
    """True if a severity is the bound or worse.

    >>> is_as_severe("error", "warning"), is_as_severe("note", "warning")
    (True, False)
    """
    return SEVERITIES.index(severity) <= SEVERITIES.index(bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Texts of a rule. They stand in one row beside the function that applies it.

    Args:
        title: The fault, in a few words.
        reason: Why it matters, or why the threshold is where it is.
        advice: The remedy, as settings and commands; empty if there is none.
    """

    title: str
    reason: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault that a rule found.

    Args:
        rule: Name of the rule, or of the check it belongs to.
        severity: Severity of the fault.
        title: The fault, in a few words.
        advice: The remedy.
    """

    rule: str
    severity: Severity
    title: str
    advice: str
