"""The balance of thumbs up and thumbs down."""

from collections.abc import Iterator
from typing import final

from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found, Severity

__all__ = ["Labels"]


@final
class Labels(Check):
    """How many completions are desirable and how many are not, by KTO's rule.

    Severity: an error where there is only one kind, as nothing sets good apart from bad; a warning where desirable ones
    would weigh less than 1 times or more than 1.5 times the others at equal weights (Ethayarajh et al. 2024,
    arXiv:2402.01306, Eq. 9).
    """

    def __init__(self, _: CheckSettings) -> None:
        self._counts = {True: 0, False: 0}

    @override
    def add(self, facts: GroupFacts) -> None:
        for completion in facts.group.completions:
            if completion.desirable is not None:
                self._counts[completion.desirable] += 1

    @override
    def found(self) -> Iterator[Found]:
        up, down = self._counts[True], self._counts[False]
        if not up + down:
            return
        from preftune.losses.thumbs import kto_weight_problem

        problem = kto_weight_problem(up, down, 1.0, 1.0)
        severity: Severity = "error" if not (up and down) else "warning" if problem else "note"
        advice = problem.partition("recommended for KTO. ")[2] if problem else ""
        yield Found(
            check="labels",
            severity=severity,
            title=f"Desirable completions: {up:,}; undesirable ones: {down:,}",
            count=up,
            total=up + down,
            unit="completions",
            why="KTO wants the weights of both kinds to add up to about the same: desirable ones 1 to 1.5 times the "
            "others. Of one kind alone it cannot learn what is better.",
            advice="Collect the other kind, too; to imitate desirable ones alone, use `preftune sft`."
            if severity == "error"
            else advice,
            measures={"desirable": up, "undesirable": down},
        )
