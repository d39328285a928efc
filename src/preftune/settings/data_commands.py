"""Settings of the commands that check, clean and convert preference data."""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import ClassVar, Literal

from preftune.errors import ConfigError
from preftune.settings.setting import Section, setting, settings_of

WrittenFormat = Literal["pairs", "thumbs", "lists", "demonstrations", "messages", "trl-preference", "trl-unpaired"]
"""Formats that `preftune convert` writes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckChoice(Section):
    """The checks that `preftune check` runs, and what they need beside the data."""

    title: ClassVar[str] = "Checks"

    tokenizer: str | None = setting(
        None,
        "Tokenizer for lengths in tokens: hub id or folder. Default: lengths in words.",
        is_path=True,
        metavar="MODEL",
    )
    model: str | None = setting(
        None, "Run folder; list the labels that its model contradicts.", is_path=True, metavar="RUN"
    )
    only: list[str] = setting([], "Run only this check.", metavar="CHECK")
    skip: list[str] = setting([], "Skip this check.", metavar="CHECK")
    seed: int = setting(0, "Random seed for sampling large data.", within="[0, inf)")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult(Section):
    """The report of `preftune check`: its files, and the exit code."""

    title: ClassVar[str] = "Result"

    fail_on: Literal["error", "warning", "never"] = setting(
        "error", "Exit with code 1 if a finding has this severity or a higher one.", changes="output"
    )
    json: str | None = setting(
        None, "Write the report as JSON; -: to standard output.", changes="folder", is_path=True, metavar="FILE"
    )
    html: str | None = setting(
        None,
        "Write the report as a self-contained HTML page with figures.",
        changes="folder",
        is_path=True,
        metavar="FILE",
    )
    overwrite: bool = setting(False, "Replace existing output files.", changes="folder")
    examples: bool = setting(True, "Show excerpts of the rows, not only their line numbers.", changes="output")

    def conflicts(self) -> Iterator[str]:
        """Messages about values that cannot work together."""
        if self.html == "-":
            yield "html = -: a page cannot be printed. Name a file with --html."
        if self.json is not None and self.json == self.html:
            yield f"json and html = {self.json}: are the same file. Name two."


@dataclass(frozen=True, kw_only=True, slots=True)
class CleaningRules(Section):
    """The rules of `preftune clean`, all off by default. Each runs on the rows that those above it keep.

    Raises:
        ConfigError: Values out of their range, all at once.

    >>> CleaningRules(drop_ties=-1.0, cap_per_prompt=0)
    Traceback (most recent call last):
    preftune.errors.ConfigError: 2 settings cannot work:
      - drop_ties = -1.0: must be at least 0, as a difference of scores.
      - cap_per_prompt = 0: must be at least 1, or no row is left.
    """

    title: ClassVar[str] = "Rules"

    drop_unusable: bool = setting(False, "Remove rows that training cannot use.")
    drop_identical: bool = setting(False, "Remove rows whose chosen and rejected completions are equal.")
    dedupe: bool = setting(False, "Remove rows that repeat an earlier one.")
    drop_ties: float | None = setting(
        None,
        "Remove rows with a margin of at most GAP.",
        within="[0, inf)",
        because="as a difference of scores",
        metavar="GAP",
    )
    resolve_contradictions: Literal["majority"] | None = setting(
        None, "Remove rows that contradict the majority about two completions; all of them in a tie."
    )
    cap_per_prompt: int | None = setting(
        None,
        "Keep at most N rows per prompt, chosen at random.",
        within="[1, inf)",
        because="or no row is left",
        metavar="N",
    )
    balance_length: bool = setting(
        False, "Remove random rows until the longer completion is chosen as often as the shorter."
    )
    seed: int = setting(0, "Random seed.", within="[0, inf)")

    def __post_init__(self) -> None:
        problems = list(self.problems())
        if problems:
            raise ConfigError(problems)

    @property
    def is_empty(self) -> bool:
        """True if no rule is chosen."""
        rules = (item for item in settings_of(type(self)) if item.name != "seed")
        return all(getattr(self, item.name) == item.default for item in rules)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversionSettings(Section):
    """The format that `preftune convert` writes."""

    title: ClassVar[str] = "Format"

    to: WrittenFormat = setting(MISSING, "Format to write, see `preftune formats`.", metavar="FORMAT")
    score: list[str] = setting([], "Auxiliary score to keep, such as safety.", metavar="NAME")


@dataclass(frozen=True, kw_only=True, slots=True)
class RowsFile(Section):
    """The file for the rows that `preftune clean` and `preftune convert` write."""

    title: ClassVar[str] = "Result"

    output: str | None = setting(None, "File to write. Required.", changes="folder", is_path=True, metavar="FILE.jsonl")
    overwrite: bool = setting(False, "Replace an existing output file.", changes="folder")

    def conflicts(self) -> Iterator[str]:
        """Messages about values that cannot work together."""
        if not self.output:
            yield "output: is not given. Name the file to write with --output."
        elif self.path.suffix.lower() not in (".jsonl", ".ndjson"):
            yield f"output = {self.output}: rows are written as JSON Lines. Name a file that ends in .jsonl."

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.output or "")
