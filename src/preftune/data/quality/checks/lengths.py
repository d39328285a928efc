"""How long completions are, in words."""

from collections import Counter
from collections.abc import Iterator
from typing import final

from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found
from preftune.data.quality.histogram import Histogram, histogram_of, quantile

__all__ = ["Lengths"]


@final
class Lengths(Check):
    """Lengths in words of prompts and completions; of chosen and rejected, once for each pair that they are in.

    Always a note: what follows from lengths, `length-bias` and `tokens` say.
    """

    def __init__(self, _: CheckSettings) -> None:
        self._prompts: Counter[int] = Counter()
        self._completions: Counter[int] = Counter()
        self._judged: dict[str, Counter[int]] = {"chosen": Counter(), "rejected": Counter()}

    @override
    def add(self, facts: GroupFacts) -> None:
        self._prompts[len(facts.prompt.split())] += 1
        self._completions.update(facts.lengths)
        for pair in facts.judged.comparisons:
            self._judged["chosen"][facts.lengths[pair.chosen]] += 1
            self._judged["rejected"][facts.lengths[pair.rejected]] += 1
        for completion, length in zip(facts.group.completions, facts.lengths, strict=True):
            if completion.desirable is not None:
                self._judged["chosen" if completion.desirable else "rejected"][length] += 1

    @override
    def found(self) -> Iterator[Found]:
        if not self._completions:
            return
        middle = quantile(self._completions, 0.5)
        counters = {"prompt": self._prompts, "completion": self._completions, **self._judged}
        measures = {
            f"{name}_{label}": quantile(counter, share)
            for name, counter in counters.items()
            if counter
            for label, share in (("shortest", 0.0), ("median", 0.5), ("p95", 0.95), ("longest", 1.0))
        }
        total = sum(self._completions.values())
        sides = [f"{name} {quantile(counter, 0.5):,}" for name, counter in self._judged.items() if counter]
        yield Found(
            check="lengths",
            severity="note",
            title=f"Words of a completion: {middle:,} in the median" + (f" ({', '.join(sides)})" if sides else ""),
            count=total,
            total=total,
            unit="completions",
            why="Long completions cost the most; very short ones teach little.",
            advice="",
            measures=measures,
        )

    @override
    def histograms(self) -> Iterator[Histogram]:
        counters = {name: counter for name, counter in self._judged.items() if counter}
        picture = histogram_of(
            "Length of completions", "words", counters or {"completion": self._completions}, is_logarithmic=True
        )
        if picture is not None:
            yield picture
