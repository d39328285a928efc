"""From what became of the points to the result: frontier, means over seeds, recommendation, realigned run."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from preftune.metrics.intervals import Bootstrap
from preftune.settings.space import setup_name
from preftune.settings.sweep_config import SweepConfig
from preftune.settings.sweep_sections import VALUE_TEXTS, value_format
from preftune.sweep.distance import gap_of
from preftune.sweep.edges import edge_texts
from preftune.sweep.evaluated import Evaluated, interval_of
from preftune.sweep.frontier import on_frontier
from preftune.sweep.pooled import Draws, Pooled, pool
from preftune.sweep.recommendation import Candidate, Recommendation, recommend
from preftune.sweep.result import ModelRow, PointRow, Realigned, SetupRow, SweepResult
from preftune.sweep.run_point import PointOutcome

__all__ = ["Analysis"]


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What outcomes tell.

    Args:
        config: Of the sweep.
        outcomes: Of its points.
        mixes: A run at several strengths, with its name; None if it was not asked for.
    """

    config: SweepConfig
    outcomes: Sequence[PointOutcome]
    mixes: tuple[str, Sequence[Evaluated]] | None = None

    def result(self, *, sharing: Sequence[str], stopped: bool) -> SweepResult:
        """All of it.

        Args:
            sharing: Lines on the reference.
            stopped: Whether the sweep is not at its end.
        """
        draws = Draws(self.config.bootstrap)
        pooled = pool(self._by_setup(), self.config.value, self.config.bootstrap, draws)
        reference = [found.reference_value for item in self.outcomes for found in item.evaluations]
        reference_value = next((value for value in reference if value is not None), None)
        return SweepResult(
            folder=str(self.config.folder),
            value=self.config.value,
            against=self._against(),
            confidence=self.config.bootstrap.confidence,
            kl_budget=self.config.settings.kl_budget,
            reference_value=reference_value,
            points=tuple(self._rows()),
            setups=tuple(SetupRow(name, len(found.prompts), found.value, found.kl) for name, found in pooled.items()),
            recommendation=None if stopped else self._recommendation(pooled, reference_value),
            realigned=self._realigned(pooled, draws),
            sharing=tuple(sharing),
            num_computed=sum(item.record.num_computed for item in self.outcomes),
            stopped=stopped,
        )

    @property
    def _bootstrap(self) -> Bootstrap:
        return self.config.bootstrap

    def _against(self) -> str | None:
        against = self.config.evaluation.get("against")
        return None if against is None or against == "reference" else str(against)

    def _rows(self) -> Iterator[PointRow]:
        models = [item for outcome in self.outcomes for item in outcome.evaluations]
        marks = iter(on_frontier([item.kl.mean for item in models], [item.value.mean for item in models]))
        for outcome in self.outcomes:
            point = outcome.point
            rows = tuple(self._model_row(item, on_frontier=next(marks)) for item in outcome.evaluations)
            yield PointRow(point.name, setup_name(point.setup), point.seed, outcome.record, rows)

    def _model_row(self, item: Evaluated, *, on_frontier: bool) -> ModelRow:
        return ModelRow(
            folder=item.folder,
            step=item.step,
            strength=item.strength,
            value=interval_of(item.value, self.config.value, self._bootstrap),
            kl=interval_of(item.kl, None, self._bootstrap),
            accuracy=None if item.accuracy is None else interval_of(item.accuracy, "accuracy", self._bootstrap),
            on_frontier=on_frontier,
        )

    def _by_setup(self) -> dict[str, list[Evaluated]]:
        """The models of the runs, by what is swept."""
        found: dict[str, list[Evaluated]] = {}
        for outcome in self.outcomes:
            if outcome.final is not None:
                found.setdefault(setup_name(outcome.point.setup), []).append(outcome.final)
        return found

    def _recommendation(self, pooled: Mapping[str, Pooled], reference_value: float | None) -> Recommendation:
        setups = {setup_name(item.point.setup): item.point.setup for item in self.outcomes}
        sick = self._sick()
        return recommend(
            [
                Candidate(
                    name, found, name in sick, tuple(edge_texts(setups[name], self.config.over, self.config.space))
                )
                for name, found in pooled.items()
            ],
            value=VALUE_TEXTS[self.config.value],
            confidence=self._bootstrap.confidence,
            kl_budget=self.config.settings.kl_budget,
            reference_value=reference_value,
            unit=value_format(self.config.value),
        )

    def _realigned(self, pooled: Mapping[str, Pooled], draws: Draws) -> Realigned | None:
        if self.mixes is None or not self.mixes[1]:
            return None
        name, items = self.mixes
        rows = tuple(self._model_row(item, on_frontier=False) for item in items)
        mixed = [pool({name: [item]}, self.config.value, self._bootstrap, draws)[name] for item in items]
        sick = self._sick()
        trained = self._curve([found for setup, found in pooled.items() if setup not in sick])
        confidence = self._bootstrap.confidence
        own = next((item.kl.mean for item in items if item.strength == 1), None)
        nearer, farther = (
            None if own is None else gap_of(mixed, trained, confidence, within=within)
            for within in ((-math.inf, own or 0.0), (own or 0.0, math.inf))
        )
        return Realigned(name, rows, gap_of(mixed, trained, confidence), nearer, farther)

    def _sick(self) -> set[str]:
        return {setup_name(item.point.setup) for item in self.outcomes if item.record.is_sick}

    def _curve(self, trained: Sequence[Pooled]) -> Sequence[Pooled]:
        """The points to compare with: all where one setting is swept, so that none is picked for its luck; of several
        settings those that no other dominates."""
        if len({**self.config.over, **self.config.space}) == 1:
            return trained
        marks = on_frontier([item.kl.value for item in trained], [item.value.value for item in trained])
        return [item for item, is_on in zip(trained, marks, strict=True) if is_on]
