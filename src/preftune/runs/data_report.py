"""Reports on the data of a run: counts, rows left out or cut, and findings of checks."""

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_args

from transformers import PreTrainedTokenizerBase

from preftune.data.load import LoadedGroups
from preftune.data.quality.check import CheckSettings
from preftune.data.quality.report import QualityReport
from preftune.data.quality.run import check_groups, prompt_keys, special_tokens, token_counter
from preftune.data.rows import DataRow, LeftOut
from preftune.data.tokens.pipeline import MethodGroups
from preftune.data.tokens.shown import Hidden
from preftune.data.tokens.token_group import TokenGroup
from preftune.data.tokens.tokenize import CUT_TEXTS
from preftune.data.views import LOST
from preftune.files.json_files import from_json
from preftune.findings import Severity
from preftune.groups import PromptGroup
from preftune.planning.sizes import sizes_of
from preftune.runs.samples import evenly_spaced
from preftune.settings.chat import ChatChoice

_SHOWN_PLACES = 3

LOST_TEXTS: Mapping[str, str] = {
    "skipped": "rows could not be used and were left out",
    **{reason: f"{text} and were left out" for reason, text in LOST.items()},
    "over_cap": "pairs, completions or lists are beyond --max-per-prompt and were left out",
    **CUT_TEXTS,
}
"""Descriptions of rows left out or cut, by the field that lists their places."""


@dataclass(frozen=True, slots=True)
class PartReport:
    """Counts and losses of one part of the data: training or held out.

    Args:
        num_tokens: Number of tokens, each prompt counted once.
        num_desirable, num_undesirable: Numbers of completions with thumbs up and down.
        skipped: Rows left out because they could not be used, each with its place and problem.
        left_out: Numbers of rows that were filtered out or carry no training signal, a line for each reason.
        tied, under_gap, equal, unpaired, ambiguous, unmarked, undesirable, weightless: Places of feedback that could
            not be used, as `FeedbackReport` explains.
        over_cap: Places of pairs, completions or lists beyond the maximum per prompt.
        dropped, prompts_cut, completions_cut: Places of prompts and completions that were too long.
        equal_pairs: Places of pairs whose two completions became the same tokens and carry no signal.
        hidden_texts, hidden_calls, hidden_thoughts, hidden_systems, hidden_tools, other_generation_prompts: Places of
            prompts of which the chat template does not show a part.
        warnings: Problems of the method with these data.
        notes: Sentences on how columns were read, on those that were not, and on the share that was held out.
    """

    num_prompts: int
    num_tokens: int
    num_pairs: int
    num_desirable: int = 0
    num_undesirable: int = 0
    skipped: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    tied: tuple[str, ...] = ()
    under_gap: tuple[str, ...] = ()
    equal: tuple[str, ...] = ()
    unpaired: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()
    unmarked: tuple[str, ...] = ()
    undesirable: tuple[str, ...] = ()
    weightless: tuple[str, ...] = ()
    over_cap: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    prompts_cut: tuple[str, ...] = ()
    completions_cut: tuple[str, ...] = ()
    equal_pairs: tuple[str, ...] = ()
    hidden_texts: tuple[str, ...] = ()
    hidden_calls: tuple[str, ...] = ()
    hidden_thoughts: tuple[str, ...] = ()
    hidden_systems: tuple[str, ...] = ()
    hidden_tools: tuple[str, ...] = ()
    other_generation_prompts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    mix: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(
        loaded: LoadedGroups | None,
        part: MethodGroups,
    ) -> "PartReport":
        """The report on a part's groups, and on the rows that they were read from."""
        tokenized, report = part.tokenized, part.tokenized.report
        thumbs = [is_desirable for group in tokenized.groups for is_desirable in group.desirable]
        unused = {item.name: tuple(map(str, getattr(part.feedback, item.name))) for item in fields(part.feedback)}
        return PartReport(
            num_prompts=len(tokenized.groups),
            num_tokens=sum(size.packed_tokens for size in sizes_of(tokenized.groups)),
            num_pairs=sum(len(group.pairs) for group in tokenized.groups),
            num_desirable=sum(thumbs),
            num_undesirable=len(thumbs) - sum(thumbs),
            skipped=tuple(map(str, loaded.skipped)) if loaded else (),
            left_out=tuple(_left_out_lines(loaded.left_out)) if loaded else (),
            **unused,
            over_cap=tuple(map(str, part.over_cap)),
            dropped=tuple(map(str, report.dropped)),
            prompts_cut=tuple(map(str, report.prompts_cut)),
            completions_cut=tuple(map(str, report.completions_cut)),
            equal_pairs=tuple(map(str, report.equal_pairs)),
            **{kind: tuple(map(str, getattr(report, kind))) for kind in get_args(Hidden)},
            notes=(*(loaded.notes if loaded else ()), *_weight_lines(tokenized.groups)),
        )

    @property
    def hides_anything(self) -> bool:
        """True if the chat template does not show a part of some prompts."""
        return any(getattr(self, kind) for kind in get_args(Hidden))

    def lines(self, part: str) -> Iterator[str]:
        """Lines for the console: counts, and the first places of each kind."""
        pairs = f", {self.num_pairs:,} pairs" if self.num_pairs else ""
        yield f"{part}: {self.num_prompts:,} prompts, {self.num_tokens:,} tokens{pairs}"
        if self.num_desirable or self.num_undesirable:
            yield f"  {self.num_desirable:,} completions are desirable, {self.num_undesirable:,} are not"
        for name, what in LOST_TEXTS.items():
            places: Sequence[str] = getattr(self, name)
            if places:
                more = "" if len(places) <= _SHOWN_PLACES else ", ..."
                yield f"  {len(places):,} {what}: {', '.join(places[:_SHOWN_PLACES])}{more}"
        yield from (f"  {line}" for line in self.left_out)
        yield from (f"  mix: {line}" for line in self.mix)
        yield from (f"  {note}" for note in self.notes)
        yield from (f"  warning: {warning}" for warning in self.warnings)


def _weight_lines(groups: Sequence[TokenGroup]) -> Iterator[str]:
    weights = [weight for group in groups for weight in group.weights_in_loss("completion")]
    if any(weight != 1 for weight in weights):
        yield f"the loss is a weighted mean: rows have weights from {min(weights):g} to {max(weights):g}"


def _left_out_lines(rows: Sequence[LeftOut]) -> Iterator[str]:
    """A line for each reason, with a count and the first row: a filter may leave out more rows than can be listed."""
    counts = Counter(row.reason for row in rows)
    first = {row.reason: row.origin for row in reversed(rows)}
    for reason, count in counts.items():
        yield f"{count:,} rows were left out, {reason}: the first is {first[reason]}"


MOST_ROWS = 20_000

LEFT_OUT = ("near-duplicates", "shortcuts")
"""The slowest checks: 20,000 rows of dialogue take 5 s of a core without them, 10 s with them."""

_SHOWN: tuple[Severity, ...] = ("error", "warning")
_TITLES = 3


@dataclass(frozen=True, slots=True)
class CheckExample:
    """A row that shows a finding; `text` is an excerpt."""

    place: str
    note: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckFinding:
    """A finding of `preftune check` as its JSON has it; see `preftune.data.quality.check.DataFinding`."""

    check: str
    severity: Severity
    title: str
    count: int
    total: int
    share: float
    unit: str
    why: str
    advice: str
    measures: Mapping[str, Any]
    examples: tuple[CheckExample, ...]
    num_rows: int
    rows: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class DataCheckRecord:
    """The content of `data-check.json`: a report of `preftune check`, and how much of the data it covers.

    Args:
        checked, of: Rows that were checked, and rows of the training data; None in a report of `preftune check`.
        left_out: Checks that a run leaves out to save time.
        skipped: Missing requirement of each check that could not run.
    """

    version: int
    sources: tuple[str, ...]
    num_rows: int
    seconds: float
    checks: tuple[str, ...]
    skipped: Mapping[str, str]
    findings: tuple[CheckFinding, ...]
    counts: Mapping[str, int] = field(default_factory=dict, hash=False)
    histograms: tuple[Mapping[str, Any], ...] = ()
    checked: int | None = None
    of: int | None = None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DataCheck:
    """Result of the data checks of a run."""

    report: QualityReport
    num_rows: int
    sources: tuple[str, ...]

    def record(self) -> "DataCheckRecord":
        """The content of `data-check.json`."""
        counts = {"checked": self.report.num_rows, "of": self.num_rows}
        record: DataCheckRecord = from_json(
            DataCheckRecord, {**self.report.as_dict(), **counts, "left_out": list(LEFT_OUT)}
        )
        return record

    def lines(self) -> Iterator[str]:
        """A line for the console if there are errors or warnings."""
        counts = [_counted(self.report.num_of(severity), severity) for severity in _SHOWN]
        found = [text for text in counts if text]
        if not found:
            return
        rows = f"{self.report.num_rows:,} rows"
        if self.report.num_rows < self.num_rows:
            rows = f"{self.report.num_rows:,} of {self.num_rows:,} rows"
        command = f"preftune check {shlex.join(self.sources)}"
        yield f"data check: {', '.join(found)} in {rows}{self._titles()}; see data-check.json, or {command}"

    def _titles(self) -> str:
        titles = [finding.title for finding in self.report.findings if finding.severity == "error"]
        more = f"; and {len(titles) - _TITLES} more" if len(titles) > _TITLES else ""
        return f" ({'; '.join(titles[:_TITLES])}{more})" if titles else ""


def check_data(
    loaded: LoadedGroups,
    learned: Sequence[PromptGroup],
    held_out: Sequence[PromptGroup],
    sources: Sequence[str],
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    chat: ChatChoice | None = None,
    max_length: int | None = None,
    max_rows: int = MOST_ROWS,
    seed: int = 0,
) -> DataCheck:
    """Run the checks of `preftune check` on the training data, without the slowest ones.

    Args:
        loaded: All rows that were read, unusable ones included.
        learned: Training groups among them.
        held_out: Held-out groups, to find prompts that are in both.
        tokenizer, chat, max_length: Of the run, for checks of lengths in tokens; None leaves these checks out.
        max_rows: Maximum number of rows to check, spread evenly over the data.
    """
    rows: list[DataRow] = [*learned, *loaded.skipped, *loaded.left_out]
    looked_at = [rows[place] for place in evenly_spaced(len(rows), max_rows)]
    settings = CheckSettings(seed=seed, held_out=prompt_keys(held_out) if held_out else None)
    count_tokens = None
    if tokenizer is not None and chat is not None:
        settings = replace(settings, max_length=max_length, special_tokens=special_tokens(tokenizer))
        count_tokens = token_counter(tokenizer, chat)
    report = check_groups(lambda: looked_at, settings=settings, count_tokens=count_tokens, skip=LEFT_OUT)
    return DataCheck(report, len(rows), tuple(sources))


def _counted(number: int, noun: str) -> str:
    """
    >>> _counted(2, "error"), _counted(0, "error")
    ('2 errors', '')
    """
    return f"{number} {noun}{'s' * (number != 1)}" if number else ""
