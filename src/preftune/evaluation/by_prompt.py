"""Metrics by prompt, so that models can be compared on the same prompts."""

import hashlib
import json
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from preftune.data.tokens.token_group import TokenGroup
from preftune.evaluation.pairs import PairTable, prompt_numbers
from preftune.groups import Text
from preftune.judges.judge import JudgedComparison
from preftune.metrics.intervals import FloatArray, Statistic, ratio_of, sums_by_prompt

PromptMetric = Literal["accuracy", "kl", "win_rate", "score", "their_score"]
"""Held-out accuracy; KL to the reference; points by the judge; the judge's scores of us and of the opponent."""


@dataclass(frozen=True, slots=True)
class ByPrompt:
    """A mean over rows, such as samples or pairs, kept as a sum and a count for each prompt.

    Args:
        prompts: A digest of each prompt, each once.

    >>> ByPrompt(("a", "b"), (3.0, 1.0), (2.0, 2.0)).mean
    1.0
    """

    prompts: tuple[str, ...]
    sums: tuple[float, ...]
    counts: tuple[float, ...]

    @staticmethod
    def of(prompts: Iterable[Text], sums: FloatArray, counts: FloatArray) -> "ByPrompt":
        """The mean of prompts given as text or conversation."""
        return ByPrompt(tuple(map(_digest, prompts)), tuple(sums.tolist()), tuple(counts.tolist()))

    @property
    def mean(self) -> float:
        """Mean over all rows."""
        return sum(self.sums) / sum(self.counts)

    @property
    def statistic(self) -> Statistic:
        """The mean as a function of resampled prompts."""
        return ratio_of(np.array(self.sums), np.array(self.counts))


PromptRecord = MutableMapping[PromptMetric, ByPrompt]
"""Metrics of an evaluation by prompt; filled by `evaluate`."""


def accuracy_by_prompt(groups: Sequence[TokenGroup], table: PairTable) -> ByPrompt:
    """Share of pairs whose chosen completion has the higher reward."""
    digests = {
        number: hashlib.blake2b(group.prompt.tobytes(), digest_size=8).hexdigest()
        for number, group in zip(prompt_numbers(groups), groups, strict=True)
        if group.pairs
    }
    sums, counts = (
        sums_by_prompt(rows, table.prompts, table.num_prompts) for rows in (table.is_right, np.ones(len(table)))
    )
    return ByPrompt(tuple(digests[number] for number in sorted(digests)), tuple(sums.tolist()), tuple(counts.tolist()))


def record_verdicts(record: PromptRecord, judged: Sequence[JudgedComparison]) -> None:
    """Add points and scores of the comparisons that have verdicts to the record."""
    complete = [item for item in judged if item.is_complete]
    if not complete:
        return
    record["win_rate"] = _means(complete, [float(np.mean(item.points)) for item in complete])
    known = [item.scores for item in complete if item.scores is not None]
    if len(known) == len(complete):
        record["score"] = _means(complete, [ours for ours, _ in known])
        record["their_score"] = _means(complete, [theirs for _, theirs in known])


def _means(judged: Sequence[JudgedComparison], values: Sequence[float]) -> ByPrompt:
    prompts = {item.comparison.prompt_number: item.comparison.prompt for item in judged}
    numbers = np.array([item.comparison.prompt_number for item in judged])
    places = np.searchsorted(np.array(sorted(prompts)), numbers)
    sums, counts = (sums_by_prompt(rows, places, len(prompts)) for rows in (np.array(values), np.ones(len(values))))
    return ByPrompt.of([prompts[number] for number in sorted(prompts)], sums, counts)


def _digest(prompt: Text) -> str:
    content = prompt if isinstance(prompt, str) else [message.as_dict() for message in prompt]
    text = json.dumps(content, ensure_ascii=False, sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
