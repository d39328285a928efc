"""The checks there are, in the order of the report."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.checks.contradictions import Contradictions
from preftune.data.quality.checks.control_characters import ControlCharacters
from preftune.data.quality.checks.counts import Counts
from preftune.data.quality.checks.duplicates import Duplicates
from preftune.data.quality.checks.empty import Empty
from preftune.data.quality.checks.identical import Identical
from preftune.data.quality.checks.labels import Labels
from preftune.data.quality.checks.language import Language
from preftune.data.quality.checks.length_bias import LengthBias
from preftune.data.quality.checks.lengths import Lengths
from preftune.data.quality.checks.margins import Margins
from preftune.data.quality.checks.near_duplicates import NearDuplicates
from preftune.data.quality.checks.overlap import Overlap
from preftune.data.quality.checks.prompts import Prompts
from preftune.data.quality.checks.refusals import Refusals
from preftune.data.quality.checks.shortcuts import Shortcuts
from preftune.data.quality.checks.special_tokens import SpecialTokens
from preftune.data.quality.checks.template_tokens import TemplateTokens
from preftune.data.quality.checks.tokens import Tokens
from preftune.data.quality.checks.truncated import Truncated
from preftune.data.quality.checks.unusable import Unusable
from preftune.errors import ConfigError, did_you_mean

__all__ = ["CHECKS", "CheckEntry", "Need", "chosen_checks"]

Need = Literal["tokenizer", "evaluation data"]
"""What a check needs beside the data."""


@dataclass(frozen=True, slots=True)
class CheckEntry:
    """A check in the table.

    Args:
        about: What it looks for, in a few words.
        make: Starts it.
        needs: What it needs beside the data.
        blames_rows: Whether what it finds is wrong with single rows, so that a row with several such is suspicious.
    """

    about: str
    make: Callable[[CheckSettings], Check]
    needs: Need | None = None
    blames_rows: bool = True


CHECKS: Mapping[str, CheckEntry] = {
    "counts": CheckEntry("how much there is", Counts, blames_rows=False),
    "unusable": CheckEntry("rows that cannot be read", Unusable),
    "empty": CheckEntry("completions and prompts in which nothing is said", Empty),
    "identical": CheckEntry("chosen and rejected that are the same, or nearly", Identical),
    "contradictions": CheckEntry("pairs judged both ways, and cycles", Contradictions),
    "margins": CheckEntry("ties, small margins, scores against the pair", Margins),
    "overlap": CheckEntry(
        "prompts that the evaluation data have, too", Overlap, needs="evaluation data", blames_rows=False
    ),
    "duplicates": CheckEntry("rows that repeat an earlier row", Duplicates),
    "near-duplicates": CheckEntry("rows that nearly repeat another row", NearDuplicates),
    "length-bias": CheckEntry("whether length gives away which is chosen", LengthBias, blames_rows=False),
    "shortcuts": CheckEntry("whether words give away which is chosen", Shortcuts, blames_rows=False),
    "refusals": CheckEntry("completions that decline, chosen or rejected", Refusals, blames_rows=False),
    "truncated": CheckEntry("completions that stop in the middle of a sentence", Truncated),
    "language": CheckEntry("completions in another script", Language),
    "control-characters": CheckEntry("characters that no one typed", ControlCharacters),
    "template-tokens": CheckEntry("marks of chat templates inside texts", TemplateTokens),
    "special-tokens": CheckEntry("special tokens inside texts", SpecialTokens, needs="tokenizer"),
    "labels": CheckEntry("the balance of thumbs up and down", Labels, blames_rows=False),
    "prompts": CheckEntry("how many and how different prompts are", Prompts, blames_rows=False),
    "lengths": CheckEntry("how long completions are, in words", Lengths, blames_rows=False),
    "tokens": CheckEntry(
        "how long all is in tokens, and what is over the limit", Tokens, "tokenizer", blames_rows=False
    ),
}


def chosen_checks(only: Collection[str] = (), skip: Collection[str] = ()) -> list[str]:
    """The names of the checks to run, in the order of the table.

    Args:
        only: These alone, if any.
        skip: All but these.
    Raises:
        ConfigError: a name that is not in the table, or nothing left.

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
