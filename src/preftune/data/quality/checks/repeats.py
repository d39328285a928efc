"""Checks of what occurs twice: rows, nearly equal rows, prompts, and prompts of the evaluation data."""

from collections import Counter
from collections.abc import Iterator
from typing import final

import numpy as np

from preftune.data.quality.check import NUM_EXAMPLES, Check, CheckRule, CheckSettings, Draft, DraftExample
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.keys import KeyLog, Sample
from preftune.data.quality.neighbours import Shingles, cluster_alike, shingles_of

_PROMPT_ALIKE, _COMPLETION_ALIKE = 0.6, 0.8
_SAMPLE_SIZE = 50_000
_NUM_CLUSTERS = 5
_CROWDED, _CROWDED_ROWS = 0.05, 100

_OVERLAP = CheckRule(
    title="Rows with a prompt of the evaluation data: {count:,}; prompts concerned: {eval_prompts_seen:,} of "
    "{eval_prompts:,}",
    unit="rows",
    reason="Metrics on prompts that were trained on say nothing about other prompts.",
    advice="Leave these rows out of one side, or split by prompt with --eval-fraction.",
    error=0.0,
)


@final
class Overlap(Check):
    """Rows whose prompt is also in `--eval-data`, but for case and white space.

    Severity: an error from the first row on: metrics on prompts that were trained on say nothing about others.
    """

    name = "overlap"
    about = "prompts that are also in the evaluation data"
    needs = "evaluation data"
    blames_rows = False

    def __init__(self, settings: CheckSettings) -> None:
        assert settings.held_out is not None, "the check needs evaluation data"
        self._held_out = settings.held_out
        self._log = KeyLog()

    def add(self, facts: GroupFacts) -> None:
        self._log.add(facts.prompt_key, facts.place)

    def drafts(self) -> Iterator[Draft]:
        is_inside = np.isin(self._log.keys, self._held_out)
        places = np.sort(self._log.places[is_inside]).tolist()
        if places:
            num_prompts = len(np.unique(self._log.keys[is_inside]))
            measures = {"eval_prompts": len(self._held_out), "eval_prompts_seen": num_prompts}
            yield _OVERLAP.draft(len(places), len(self._log), places, measures=measures, values=measures)


_REPEATS = CheckRule(
    title="Rows that repeat an earlier row: {count:,}",
    unit="rows",
    reason="A row that occurs twice counts twice, and is memorised sooner.",
    advice="Leave the repeats out: `preftune clean {remedy}`.",
    remedy="--dedupe",
    warning=0.005,
    error=0.1,
)


@final
class Duplicates(Check):
    """Rows equal to an earlier one: same prompt, completions, preference and thumbs, but for case and white space.

    Scores and the order of completions do not matter. Severity: a warning from 0.5 % of the rows, an error from 10 %: a
    row that occurs twice counts twice, and leaks if a split by row puts it on both sides.
    """

    name = "duplicates"
    about = "rows that repeat an earlier row"

    def __init__(self, settings: CheckSettings) -> None:  # noqa: ARG002
        self._log = KeyLog()

    def add(self, facts: GroupFacts) -> None:
        self._log.add(facts.row_key, facts.place)

    def drafts(self) -> Iterator[Draft]:
        repeats = self._log.repeats()
        places, first = repeats.places.tolist(), repeats.first[:NUM_EXAMPLES].tolist()
        if places:
            examples = [DraftExample(place, like=other) for place, other in zip(places, first, strict=False)]
            yield _REPEATS.draft(len(places), len(self._log), places, examples=examples)


_NEAR_REPEATS = CheckRule(
    title="Rows{sampled} nearly like another row: {count:,}",
    unit="rows",
    reason="They count nearly twice. If one of two is held out, the evaluation is nearly on training data.",
    advice="Read some. If they are copies with a word changed, keep one of each.",
    warning=0.02,
)


@final
class NearDuplicates(Check):
    """Distinct rows that share 60 % of the prompt's and 80 % of the completions' word pairs with another row.

    Completions are compared side by side: chosen with chosen (in lists: the best), the rest with the rest, so rows that
    contradict each other are not alike. Prompts are shorter, so a changed word is a larger part. Of a group of such
    rows all but one count. Of more than 50,000 distinct rows a seeded sample is compared, and the numbers are those of
    the sample. Severity: a warning from 2 %: less is common where people edit a draft. No error: edited rows may be
    intended.
    """

    name = "near-duplicates"
    about = "rows that nearly repeat another row"

    def __init__(self, settings: CheckSettings) -> None:
        self._sample = Sample[tuple[int, tuple[Shingles, ...]]](_SAMPLE_SIZE, seed=settings.seed)

    def add(self, facts: GroupFacts) -> None:
        if self._sample.wants(facts.row_key):
            best = _best(facts)
            rest = [word for index, words in enumerate(facts.words) if index != best for word in words]
            parts = (facts.prompt.split(), [] if best is None else facts.words[best], rest)
            self._sample.add(facts.row_key, (facts.place, tuple(map(shingles_of, parts))))

    def drafts(self) -> Iterator[Draft]:
        items = self._sample.items()
        leaders = cluster_alike([parts for _, parts in items], [_PROMPT_ALIKE, _COMPLETION_ALIKE, _COMPLETION_ALIKE])
        late = np.flatnonzero(leaders != np.arange(len(leaders)))
        if not len(late):
            return
        pairs = sorted((items[index][0], items[leaders[index]][0]) for index in late.tolist())
        yield _NEAR_REPEATS.draft(
            len(late),
            len(items),
            [place for place, _ in pairs],
            examples=[DraftExample(place, like=other) for place, other in pairs[:NUM_EXAMPLES]],
            measures={
                "prompt_threshold": _PROMPT_ALIKE,
                "completion_threshold": _COMPLETION_ALIKE,
                "rows_compared": len(items),
            },
            values={"sampled": _sampled(self._sample)},
        )


def _best(facts: GroupFacts) -> int | None:
    """Index of the best completion; None for an undesirable one alone."""
    if facts.pairs:
        return facts.pairs[0].chosen
    return None if facts.group.completions[0].desirable is False else 0


def _sampled(sample: Sample[tuple[int, Shingles]] | Sample[tuple[int, tuple[Shingles, ...]]]) -> str:
    return "" if sample.is_all else f" of a sample of {len(sample):,}"


_DISTINCT = CheckRule(
    title="Distinct prompts: {count:,} of {total:,}; most rows of one prompt: {largest:,}",
    unit="prompts",
    reason="Rows of one prompt are alike: they count as fewer than as many prompts, and a prompt with far more rows "
    "than others dominates the gradient.",
    advice="Keep fewer rows of a prompt: `preftune clean {remedy}`.",
    remedy="--cap-per-prompt N",
)
_NEIGHBOURS = CheckRule(
    title="Distinct prompts{sampled} nearly like another one: {count:,}; in the biggest cluster: {largest:,}",
    unit="prompts",
    reason="Prompts made from a pattern teach the pattern. A split by prompt puts near copies on both sides.",
    advice="Thin out the biggest clusters, and hold out whole clusters.",
    warning=0.3,
)


@final
class Prompts(Check):
    """Distinct prompts, how many of them have a near neighbour, and the biggest clusters of neighbours.

    Prompts are the same if they differ in case and white space only. Two are neighbours if they share 60 % of their
    word pairs: one word of eight changed. Of more than 50,000 distinct prompts a seeded sample is compared. Severity: a
    warning if 30 % of the prompts have a neighbour, or if one prompt has 5 % of at least 100 rows.
    """

    name = "prompts"
    about = "number and variety of prompts"
    blames_rows = False

    def __init__(self, settings: CheckSettings) -> None:
        self._log = KeyLog()
        self._sample = Sample[tuple[int, Shingles]](_SAMPLE_SIZE, seed=settings.seed)

    def add(self, facts: GroupFacts) -> None:
        self._log.add(facts.prompt_key, facts.place)
        if self._sample.wants(facts.prompt_key):
            self._sample.add(facts.prompt_key, (facts.place, shingles_of(facts.prompt.split())))

    def drafts(self) -> Iterator[Draft]:
        if len(self._log):
            yield self._distinct()
            yield from self._neighbours()

    def _distinct(self) -> Draft:
        distinct, counts = np.unique(self._log.keys, return_counts=True)
        total, largest = len(self._log), int(counts.max())
        is_crowded = largest >= _CROWDED * total and total >= _CROWDED_ROWS
        place = int(self._log.places[np.flatnonzero(self._log.keys == distinct[counts.argmax()])[0]])
        return _DISTINCT.draft(
            len(distinct),
            total,
            severity="warning" if is_crowded else "note",
            is_advised=is_crowded,
            examples=[DraftExample(place, f"{largest:,} rows")] if largest > 1 else [],
            measures={"distinct": len(distinct), "most_rows_of_a_prompt": largest},
            values={"largest": largest},
        )

    def _neighbours(self) -> Iterator[Draft]:
        items = self._sample.items()
        leaders = cluster_alike([(shingles,) for _, shingles in items], [_PROMPT_ALIKE]).tolist()
        sizes = Counter(leaders)
        inside = sorted(place for (place, _), leader in zip(items, leaders, strict=True) if sizes[leader] > 1)
        if not inside:
            return
        biggest = sorted(sizes, key=lambda leader: (-sizes[leader], leader))[:_NUM_CLUSTERS]
        examples = [
            DraftExample(items[leader][0], f"a cluster of {sizes[leader]:,}") for leader in biggest if sizes[leader] > 1
        ]
        yield _NEIGHBOURS.draft(
            len(inside),
            len(items),
            inside,
            is_advised=_NEIGHBOURS.severity_of(len(inside) / len(items)) != "note",
            examples=examples,
            measures={
                "threshold": _PROMPT_ALIKE,
                "prompts_compared": len(items),
                "clusters": sum(size > 1 for size in sizes.values()),
                "biggest_cluster": sizes[biggest[0]],
            },
            values={"sampled": _sampled(self._sample), "largest": sizes[biggest[0]]},
        )


CHECKS: tuple[type[Check], ...] = (Overlap, Duplicates, NearDuplicates, Prompts)
