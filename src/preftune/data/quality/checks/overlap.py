"""Prompts that are in the training data and in the evaluation data."""

from collections.abc import Iterator
from typing import final

import numpy as np
from typing_extensions import override

from preftune.data.quality.check import Check, CheckSettings
from preftune.data.quality.facts import GroupFacts
from preftune.data.quality.finding import Found
from preftune.data.quality.keys import KeyLog

__all__ = ["Overlap"]


@final
class Overlap(Check):
    """Rows whose prompt is among those of `--eval-data`, but for case and white space.

    Severity: error from the first on: what is measured on a prompt that was trained on says nothing about others.
    """

    def __init__(self, settings: CheckSettings) -> None:
        assert settings.held_out is not None, "the table says that this check needs evaluation data"
        self._held_out = settings.held_out
        self._log = KeyLog()

    @override
    def add(self, facts: GroupFacts) -> None:
        self._log.add(facts.prompt_key, facts.place)

    @override
    def found(self) -> Iterator[Found]:
        inside = np.isin(self._log.keys, self._held_out)
        places = np.sort(self._log.places[inside]).tolist()
        if places:
            num_prompts = len(np.unique(self._log.keys[inside]))
            yield Found(
                check="overlap",
                severity="error",
                title=f"Rows with a prompt of the evaluation data: {len(places):,}; prompts concerned: {num_prompts:,} "
                f"of {len(self._held_out):,}",
                count=len(places),
                total=len(self._log),
                unit="rows",
                why="What is measured on prompts that were trained on says nothing about others.",
                advice="Leave these rows out of one side, or let --eval-fraction split by prompt.",
                places=places,
                measures={"eval_prompts": len(self._held_out), "eval_prompts_seen": num_prompts},
            )
