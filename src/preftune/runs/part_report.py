"""What became of one part of the data, in counts and places."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from preftune.data import LeftOut, LoadedGroups
from preftune.data.feedback import FeedbackReport
from preftune.data.tokens.tokenize import TokenizedGroups
from preftune.data.views import LOST
from preftune.groups import Origin
from preftune.planning import sizes_of

__all__ = ["LOST_TEXTS", "PartReport"]

_SHOWN_PLACES = 3

LOST_TEXTS: Mapping[str, str] = {
    "skipped": "rows could not be used and were left out",
    **{reason: f"{text} and were left out" for reason, text in LOST.items()},
    "over_cap": "pairs, completions or lists are beyond --max-per-prompt and were left out",
    "dropped": "prompts were too long and were left out",
    "prompts_cut": "prompts were too long and were cut from the left",
    "completions_cut": "completions were too long and lost their end",
    "equal_pairs": "pairs became equal in tokens and teach nothing",
}
"""What is left out or cut, by the field of a report that lists its places."""


@dataclass(frozen=True, slots=True)
class PartReport:
    """What became of one part of the data: training or held out.

    Args:
        num_prompts: Prompts that are learned from or held out.
        num_tokens: Their tokens, each prompt counted once.
        num_pairs: Their pairs.
        num_desirable, num_undesirable: Their completions with thumbs up and down.
        skipped: Rows left out because they could not be used, each with its place and problem.
        left_out: How many rows were left out because they are not wanted or say nothing, a line for each reason.
        tied, under_gap, equal, unpaired, ambiguous, unmarked: Places of feedback that could not be used, as
            `FeedbackReport` explains.
        over_cap: Places of pairs, completions or lists of prompts that have more than enough.
        dropped, prompts_cut, completions_cut: Places of what was too long.
        equal_pairs: Places of pairs whose two completions became the same tokens, and teach nothing.
        warnings: What the method would have otherwise.
        mix: How much of each source an epoch holds.
    """

    num_prompts: int
    num_tokens: int
    num_pairs: int
    num_desirable: int
    num_undesirable: int
    skipped: tuple[str, ...]
    left_out: tuple[str, ...]
    tied: tuple[str, ...]
    under_gap: tuple[str, ...]
    equal: tuple[str, ...]
    unpaired: tuple[str, ...]
    ambiguous: tuple[str, ...]
    unmarked: tuple[str, ...]
    over_cap: tuple[str, ...]
    dropped: tuple[str, ...]
    prompts_cut: tuple[str, ...]
    completions_cut: tuple[str, ...]
    equal_pairs: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    mix: tuple[str, ...] = ()

    @staticmethod
    def of(
        loaded: LoadedGroups | None,
        feedback: FeedbackReport,
        tokenized: TokenizedGroups,
        over_cap: Sequence[Origin] = (),
    ) -> "PartReport":
        """The report on tokenized groups, what was left out of their feedback, and the rows that they come from."""
        report = tokenized.report
        thumbs = [is_desirable for group in tokenized.groups for is_desirable in group.desirable]
        unused = {item.name: tuple(map(str, getattr(feedback, item.name))) for item in fields(feedback)}
        return PartReport(
            num_prompts=len(tokenized.groups),
            num_tokens=sum(size.packed_tokens for size in sizes_of(tokenized.groups)),
            num_pairs=sum(len(group.pairs) for group in tokenized.groups),
            num_desirable=sum(thumbs),
            num_undesirable=len(thumbs) - sum(thumbs),
            skipped=tuple(map(str, loaded.skipped)) if loaded else (),
            left_out=tuple(_left_out_lines(loaded.left_out)) if loaded else (),
            **unused,
            over_cap=tuple(map(str, over_cap)),
            dropped=tuple(map(str, report.dropped)),
            prompts_cut=tuple(map(str, report.prompts_cut)),
            completions_cut=tuple(map(str, report.completions_cut)),
            equal_pairs=tuple(map(str, report.equal_pairs)),
        )

    def lines(self, name: str) -> Iterator[str]:
        """The report for the console: counts, and the first places of each kind."""
        pairs = f", {self.num_pairs:,} pairs" if self.num_pairs else ""
        yield f"{name}: {self.num_prompts:,} prompts, {self.num_tokens:,} tokens{pairs}"
        if self.num_desirable or self.num_undesirable:
            yield f"  {self.num_desirable:,} completions are desirable, {self.num_undesirable:,} are not"
        for field, what in LOST_TEXTS.items():
            places: Sequence[str] = getattr(self, field)
            if places:
                more = "" if len(places) <= _SHOWN_PLACES else ", ..."
                yield f"  {len(places):,} {what}: {', '.join(places[:_SHOWN_PLACES])}{more}"
        yield from (f"  {line}" for line in self.left_out)
        yield from (f"  mix: {line}" for line in self.mix)
        yield from (f"  warning: {warning}" for warning in self.warnings)


def _left_out_lines(rows: Sequence[LeftOut]) -> Iterator[str]:
    """A line for each reason: how many rows, and the first of them. A filter may leave out more than can be listed."""
    counts = Counter(row.reason for row in rows)
    first = {row.reason: row.origin for row in reversed(rows)}
    for reason, count in counts.items():
        yield f"{count:,} rows were left out, {reason}: the first is {first[reason]}"
