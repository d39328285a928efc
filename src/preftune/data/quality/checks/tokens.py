"""How long prompts and completions are in tokens, and what is over the limit."""

from array import array
from collections import Counter
from collections.abc import Iterator
from typing import final

from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found, severity_of
from preftune.data.quality.histogram import Histogram, histogram_of, quantile

__all__ = ["Tokens"]

_WARNING, _ERROR = 0.01, 0.2


@final
class Tokens(Check):
    """Tokens of a prompt and one completion together, and the share over `--max-length`.

    Severity: warning from 1 % over the limit, error from 20 %: then a good part of what is learned from was cut, and
    mostly on the side whose completions are longer.
    """

    def __init__(self, settings: CheckSettings) -> None:
        self._limit = settings.max_length
        self._lengths: Counter[int] = Counter()
        self._long = array("Q")
        self._num_long = 0
        self._untokenized = array("Q")

    @override
    def add(self, facts: GroupFacts) -> None:
        if facts.tokens is None:
            self._untokenized.append(facts.place)
            return
        wholes = [facts.tokens.prompt + completion for completion in facts.tokens.completions]
        self._lengths.update(wholes)
        num_long = sum(length > self._limit for length in wholes) if self._limit is not None else 0
        if num_long:
            self._num_long += num_long
            self._long.append(facts.place)

    @override
    def found(self) -> Iterator[Found]:
        if self._untokenized:
            yield self._found_untokenized()
        if not self._lengths:
            return
        total = sum(self._lengths.values())
        measures = {
            label: quantile(self._lengths, share)
            for label, share in (("median", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("longest", 1.0))
        }
        middle = f"{measures['median']:,} in the median, at most {measures['p99']:,} in 99 %"
        over = "" if self._limit is None else f"; over {self._limit:,}: {self._num_long:,}"
        yield Found(
            check="tokens",
            severity=severity_of(self._num_long / total, warning=_WARNING, error=_ERROR),
            title=f"Tokens of a prompt and one completion: {middle}{over}",
            count=self._num_long if self._limit is not None else total,
            total=total,
            unit="completions",
            why="Training cuts what is over --max-length: first the prompt's beginning, then the completion's end.",
            advice=f"Raise --max-length towards {measures['p99']:,}, or leave such rows out with --too-long drop."
            if self._num_long
            else "",
            places=self._long,
            measures=measures,
        )

    def _found_untokenized(self) -> Found:
        return Found(
            check="tokens",
            severity="error",
            title=f"Rows that this tokenizer and its chat template cannot render: {len(self._untokenized):,}",
            count=len(self._untokenized),
            total=len(self._untokenized) + sum(self._lengths.values()),
            unit="rows",
            why="Training stops there: the chat template cannot render the turns, or a completion has no tokens.",
            advice="Correct the rows, or give a template that takes such turns with --chat-template.",
            places=self._untokenized,
        )

    @override
    def histograms(self) -> Iterator[Histogram]:
        limit = None if self._limit is None else float(self._limit)
        picture = histogram_of(
            "Length of prompt and completion",
            "tokens",
            {"prompt + completion": self._lengths},
            is_logarithmic=True,
            limit=limit,
        )
        if picture is not None:
            yield picture
