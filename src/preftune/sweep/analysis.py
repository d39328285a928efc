"""Analysis of a sweep's runs: frontier, means over seeds, recommendation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from preftune.metrics.intervals import Bootstrap
from preftune.settings.space import setup_name
from preftune.settings.sweep_config import SweepConfig
from preftune.settings.sweep_sections import VALUE_TEXTS, value_format
from preftune.sweep.model_evaluation import ModelEvaluation, interval_of
from preftune.sweep.recommendation import Candidate, SeedMean, edge_texts, recommend, seed_means
from preftune.sweep.result import ModelRow, PointRow, Realigned, Recommendation, SetupRow, SweepResult
from preftune.sweep.run_point import PointOutcome


def on_frontier(kls: Sequence[float], values: Sequence[float]) -> list[bool]:
    """True for each model that no other dominates, with at most its KL and at least its value, and one of them better.

    Args:
        kls: KL to the reference, lower is better. Shape: (model,).
        values: Higher is better. Shape: (model,).

    >>> on_frontier([1.0, 2.0, 3.0], [0.5, 0.8, 0.7])  # the third is farther and worse than the second
    [True, True, False]
    """
    return [
        not any(
            other_kl <= kl and other_value >= value and (other_kl < kl or other_value > value)
            for other_kl, other_value in zip(kls, values, strict=True)
        )
        for kl, value in zip(kls, values, strict=True)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """Turns the outcomes of all points into the result of the sweep.

    Args:
        mixes: Name of a run and its evaluations at several strengths; None if not requested.
    """

    config: SweepConfig
    outcomes: Sequence[PointOutcome]
    mixes: tuple[str, Sequence[ModelEvaluation]] | None = None

    def result(self, *, sharing: Sequence[str], stopped: bool) -> SweepResult:
        """The result, given the notes on the shared reference and whether the sweep was interrupted."""
        means = seed_means(self._by_setup(), self.config.value, self._bootstrap)
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
            setups=tuple(SetupRow(name, len(found.prompts), found.value, found.kl) for name, found in means.items()),
            recommendation=None if stopped else self._recommendation(means, reference_value),
            realigned=self._realigned(),
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

    def _model_row(self, item: ModelEvaluation, *, on_frontier: bool) -> ModelRow:
        return ModelRow(
            folder=item.folder,
            step=item.step,
            strength=item.strength,
            value=interval_of(item.value, self.config.value, self._bootstrap),
            kl=interval_of(item.kl, None, self._bootstrap),
            accuracy=None if item.accuracy is None else interval_of(item.accuracy, "accuracy", self._bootstrap),
            on_frontier=on_frontier,
        )

    def _by_setup(self) -> dict[str, list[ModelEvaluation]]:
        """The final models by setting, one per seed."""
        found: dict[str, list[ModelEvaluation]] = {}
        for outcome in self.outcomes:
            if outcome.final is not None:
                found.setdefault(setup_name(outcome.point.setup), []).append(outcome.final)
        return found

    def _recommendation(self, means: Mapping[str, SeedMean], reference_value: float | None) -> Recommendation:
        setups = {setup_name(item.point.setup): item.point.setup for item in self.outcomes}
        sick = self._sick()
        return recommend(
            [
                Candidate(
                    name, found, name in sick, tuple(edge_texts(setups[name], self.config.over, self.config.space))
                )
                for name, found in means.items()
            ],
            value=VALUE_TEXTS[self.config.value],
            confidence=self._bootstrap.confidence,
            kl_budget=self.config.settings.kl_budget,
            reference_value=reference_value,
            unit=value_format(self.config.value),
        )

    def _realigned(self) -> Realigned | None:
        if self.mixes is None or not self.mixes[1]:
            return None
        name, items = self.mixes
        return Realigned(name, tuple(self._model_row(item, on_frontier=False) for item in items))

    def _sick(self) -> set[str]:
        return {setup_name(item.point.setup) for item in self.outcomes if item.record.is_sick}
