"""Checks of amounts: rows and judgements, unusable rows, thumbs, lengths in words and in tokens."""

import re
from array import array
from collections import Counter
from collections.abc import Iterator
from typing import final

from preftune.data.quality.check import NUM_EXAMPLES, Check, CheckRule, CheckSettings, Draft, DraftExample
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.histogram import Histogram, histogram_of, quantile
from preftune.data.rows import BadRow, LeftOut
from preftune.findings import Severity

_FEW_JUDGEMENTS = 100
_MOST_KINDS = 20
_OTHER = "other problems."

_COUNTS = CheckRule(
    title="Rows: {rows:,}; completions: {completions:,}; pairs: {pairs:,}; thumbs: {thumbs:,}",
    unit="rows",
    reason="Pairs are those of the data. A row with scores and no pairs gives all pairs of completions whose scores "
    "differ. With fewer than a hundred judgements, most measurements of a data set are noise.",
    advice="Collect more, or check --format and --columns.",
)


@final
class Counts(Check):
    """Numbers of rows, completions, pairs and thumbs.

    Severity: an error if nothing is judged (no pair, no thumb) and prompts have several completions; a warning below
    100 pairs and thumbs in all, too few for most other checks; else a note.
    """

    name = "counts"
    about = "amount of data"
    blames_rows = False

    def __init__(self, settings: CheckSettings) -> None:  # noqa: ARG002
        self._counts = dict.fromkeys(("rows", "groups", "completions", "pairs", "ties", "thumbs"), 0)
        self._demonstrations = 0

    def add(self, facts: GroupFacts) -> None:
        completions = facts.group.completions
        self._counts["rows"] += 1
        self._counts["groups"] += 1
        self._counts["completions"] += len(completions)
        self._counts["pairs"] += len(facts.pairs)
        self._counts["ties"] += facts.num_ties
        self._counts["thumbs"] += sum(completion.desirable is not None for completion in completions)
        self._demonstrations += len(completions) == 1 and completions[0].desirable is None

    def add_unusable(self, row: BadRow | LeftOut, place: int) -> None:  # noqa: ARG002
        self._counts["rows"] += 1

    def drafts(self) -> Iterator[Draft]:
        judged = self._counts["pairs"] + self._counts["thumbs"]
        is_imitation = 0 < self._counts["groups"] == self._demonstrations
        is_enough = judged >= _FEW_JUDGEMENTS or is_imitation
        severity: Severity = "note" if is_enough else "warning" if judged else "error"
        yield _COUNTS.draft(
            self._counts["groups"],
            self._counts["rows"],
            severity=severity,
            is_advised=not is_enough,
            measures=self._counts,
            values=self._counts,
        )


_BAD_ROWS = CheckRule(
    title="Rows that cannot be used: {count:,}. The first: {problem}",
    unit="rows",
    reason="Training stops at such rows, or skips them with --on-bad-row skip.",
    advice="Correct the rows, or leave them out: `preftune clean {remedy}`.",
    remedy="--drop-unusable",
    error=0.0,
)
_LEFT_OUT = CheckRule(
    title="Rows left out ({problem}): {count:,}",
    unit="rows",
    reason="They carry no training signal, so training passes over them.",
)


@final
class Unusable(Check):
    """Rows that give no group, by problem. Equal and empty completions have checks of their own.

    Severity: an error from the first row on, because training stops there by default; a note for rows that the format
    leaves out itself, such as ties. At most 20 kinds of problems are listed.
    """

    name = "unusable"
    about = "rows that cannot be used"

    def __init__(self, settings: CheckSettings) -> None:  # noqa: ARG002
        self._bad: dict[str, array[int]] = {}
        self._left_out: dict[str, array[int]] = {}
        self._problems: dict[str, str] = {}
        self._num_rows = 0

    def add(self, facts: GroupFacts) -> None:  # noqa: ARG002
        self._num_rows += 1

    def add_unusable(self, row: BadRow | LeftOut, place: int) -> None:
        self._num_rows += 1
        if isinstance(row, LeftOut):
            self._log(self._left_out, row.reason, place)
        elif row.fault == "other":
            self._log(self._bad, row.problem, place)

    def _log(self, places: "dict[str, array[int]]", problem: str, place: int) -> None:
        kind = re.sub(r"\d+", "#", problem)
        kind = kind if kind in places or len(places) < _MOST_KINDS else _OTHER
        places.setdefault(kind, array("Q")).append(place)
        self._problems.setdefault(kind, problem if kind != _OTHER else _OTHER)

    def drafts(self) -> Iterator[Draft]:
        for kind, places in self._bad.items():
            yield _BAD_ROWS.draft(len(places), self._num_rows, places, values={"problem": self._problems[kind]})
        for kind, places in self._left_out.items():
            examples = [DraftExample(place) for place in places[:NUM_EXAMPLES]]
            yield _LEFT_OUT.draft(
                len(places), self._num_rows, examples=examples, values={"problem": self._problems[kind]}
            )


_LABELS = CheckRule(
    title="Desirable completions: {count:,}; undesirable ones: {undesirable:,}",
    unit="completions",
    reason="KTO needs both kinds, at about the same total weight: desirable ones 1 to 1.5 times the others.",
    advice="{advice}",
)


@final
class Labels(Check):
    """Balance of desirable and undesirable completions, by KTO's rule.

    Severity: an error with one kind only, which leaves nothing to compare; a warning if, at equal weights, desirable
    completions weigh less than 1 times or more than 1.5 times the others (Ethayarajh et al. 2024, arXiv:2402.01306,
    Eq. 9).
    """

    name = "labels"
    about = "balance of thumbs up and down"
    blames_rows = False

    def __init__(self, settings: CheckSettings) -> None:  # noqa: ARG002
        self._counts = {True: 0, False: 0}

    def add(self, facts: GroupFacts) -> None:
        for completion in facts.group.completions:
            if completion.desirable is not None:
                self._counts[completion.desirable] += 1

    def drafts(self) -> Iterator[Draft]:
        up, down = self._counts[True], self._counts[False]
        if not up + down:
            return
        from preftune.losses.thumbs import kto_weight_problem

        problem = kto_weight_problem(up, down, 1.0, 1.0)
        severity: Severity = "error" if not (up and down) else "warning" if problem else "note"
        advice = problem.partition("recommended for KTO. ")[2] if problem else ""
        if severity == "error":
            advice = "Collect the other kind as well. To imitate desirable completions only, use `preftune sft`."
        measures = {"desirable": up, "undesirable": down}
        values = {"undesirable": down, "advice": advice}
        yield _LABELS.draft(up, up + down, severity=severity, measures=measures, values=values)


_LENGTHS = CheckRule(
    title="Words of a completion: {median:,} in the median{sides}",
    unit="completions",
    reason="Long completions cost the most; very short ones teach little.",
)


@final
class Lengths(Check):
    """Lengths in words of prompts and completions, and of chosen and rejected, once for each pair they are in.

    Always a note: `length-bias` and `tokens` judge lengths.
    """

    name = "lengths"
    about = "lengths of completions in words"
    blames_rows = False

    def __init__(self, settings: CheckSettings) -> None:  # noqa: ARG002
        self._prompts: Counter[int] = Counter()
        self._completions: Counter[int] = Counter()
        self._sides: dict[str, Counter[int]] = {"chosen": Counter(), "rejected": Counter()}

    def add(self, facts: GroupFacts) -> None:
        self._prompts[len(facts.prompt.split())] += 1
        self._completions.update(facts.lengths)
        for side, index in facts.sides():
            self._sides[side][facts.lengths[index]] += 1

    def drafts(self) -> Iterator[Draft]:
        if not self._completions:
            return
        counters = {"prompt": self._prompts, "completion": self._completions, **self._sides}
        measures = {
            f"{name}_{label}": quantile(counter, share)
            for name, counter in counters.items()
            if counter
            for label, share in (("shortest", 0.0), ("median", 0.5), ("p95", 0.95), ("longest", 1.0))
        }
        total = sum(self._completions.values())
        sides = ", ".join(f"{name} {quantile(counter, 0.5):,}" for name, counter in self._sides.items() if counter)
        median = quantile(self._completions, 0.5)
        values = {"median": median, "sides": f" ({sides})" if sides else ""}
        yield _LENGTHS.draft(total, total, measures=measures, values=values)

    def histogram(self) -> Histogram | None:
        series = {name: counter for name, counter in self._sides.items() if counter}
        return histogram_of(
            "Length of completions", "words", series or {"completion": self._completions}, is_logarithmic=True
        )


_TOKENS = CheckRule(
    title="Tokens of a prompt and one completion: {median:,} in the median, at most {p99:,} in 99 %{over}",
    unit="completions",
    reason="Training cuts what exceeds --max-length: first the prompt's beginning, then the completion's end.",
    advice="Raise --max-length towards {p99:,}, or leave such rows out with --too-long drop.",
    warning=0.01,
    error=0.2,
)
_UNTOKENIZED = CheckRule(
    title="Rows that this tokenizer and its chat template cannot render: {count:,}",
    unit="rows",
    reason="Training stops there: the chat template cannot render the turns, or a completion has no tokens.",
    advice="Correct the rows, or give a template that accepts such turns with --chat-template.",
    error=0.0,
)


@final
class Tokens(Check):
    """Tokens of a prompt and one completion together, and the share over `--max-length`.

    Severity: a warning from 1 % over the limit, an error from 20 %: then much of the training data is cut, mostly on
    the side with the longer completions.
    """

    name = "tokens"
    about = "lengths in tokens, and completions over the limit"
    needs = "tokenizer"
    blames_rows = False

    def __init__(self, settings: CheckSettings) -> None:
        self._limit = settings.max_length
        self._lengths: Counter[int] = Counter()
        self._long = array("Q")
        self._num_long = 0
        self._untokenized = array("Q")

    def add(self, facts: GroupFacts) -> None:
        if facts.tokens is None:
            self._untokenized.append(facts.place)
            return
        lengths = [facts.tokens.prompt + completion for completion in facts.tokens.completions]
        self._lengths.update(lengths)
        num_long = sum(length > self._limit for length in lengths) if self._limit is not None else 0
        if num_long:
            self._num_long += num_long
            self._long.append(facts.place)

    def drafts(self) -> Iterator[Draft]:
        total, failed = sum(self._lengths.values()), len(self._untokenized)
        if failed:
            yield _UNTOKENIZED.draft(failed, failed + total, self._untokenized)
        if not self._lengths:
            return
        shares = {"median": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "longest": 1.0}
        measures = {label: quantile(self._lengths, share) for label, share in shares.items()}
        is_limited = self._limit is not None
        yield _TOKENS.draft(
            self._num_long if is_limited else total,
            total,
            self._long,
            severity=None if is_limited else "note",
            is_advised=self._num_long > 0,
            measures=measures,
            values={**measures, "over": f"; over {self._limit:,}: {self._num_long:,}" if is_limited else ""},
        )

    def histogram(self) -> Histogram | None:
        return histogram_of(
            "Length of prompt and completion",
            "tokens",
            {"prompt + completion": self._lengths},
            is_logarithmic=True,
            limit=None if self._limit is None else float(self._limit),
        )


CHECKS: tuple[type[Check], ...] = (Counts, Unusable, Labels, Lengths, Tokens)
