"""Realignment: one run of a sweep mixed with its reference at several strengths, instead of training several betas."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from preftune.errors import ConfigError
from preftune.settings.evaluation_config import run_of
from preftune.settings.space import safe_name
from preftune.settings.sweep_config import SweepConfig
from preftune.settings.sweep_sections import VALUE_TEXTS, value_format
from preftune.sweep.model_evaluation import ModelEvaluation, ModelEvaluator, interval_of
from preftune.sweep.recommendation import interval_text
from preftune.sweep.result import PointRecord
from preftune.sweep.run_point import PointOutcome, logging_console

_FOLDER = "realigned"


@dataclass(frozen=True, slots=True)
class Realigner:
    """Evaluates mixes of a run and its reference."""

    config: SweepConfig
    console: Console

    def check(self) -> None:
        """Check before any training that the run exists or will.

        Raises:
            ConfigError: no such point or run.
        """
        wanted = self.config.settings.realign
        if wanted is None or run_of(wanted) is not None or self.config.space:
            return
        names = [point.name for point in self.config.points()]
        if not any(_is_meant(name, wanted) for name in names):
            raise ConfigError(
                [f"realign = {wanted}: is neither a point nor the folder of a run. Points: {', '.join(names)}."]
            )

    def mixes(self, outcomes: Sequence[PointOutcome]) -> tuple[str, list[ModelEvaluation]] | None:
        """Name of the run and its evaluations by strength; None if not requested.

        Raises:
            PreftuneError: the run does not exist or cannot be evaluated.
        """
        wanted = self.config.settings.realign
        if wanted is None:
            return None
        name, folder, step = self._found(wanted, outcomes)
        found = []
        with logging_console(self.config.folder, _FOLDER, self.console) as log:
            evaluator = ModelEvaluator(self.config, log)
            for strength in self.config.settings.strength_numbers:
                place = self.config.folder / _FOLDER / safe_name(f"{name},strength={strength:g}")
                found.append(evaluator.of_mix(folder, step, strength, place))
                self._say(name, found[-1])
        return name, found

    def _say(self, name: str, found: ModelEvaluation) -> None:
        value = interval_of(found.value, self.config.value, self.config.bootstrap)
        kl = interval_of(found.kl, None, self.config.bootstrap)
        unit = value_format(self.config.value)
        self.console.print(
            f"{name} at strength {found.strength:g}: {VALUE_TEXTS[self.config.value]} {interval_text(value, unit)}; "
            f"KL {interval_text(kl, '{:z.2f}'.format)}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    def _found(self, wanted: str, outcomes: Sequence[PointOutcome]) -> tuple[str, Path, int]:
        for outcome in outcomes:
            if _is_meant(outcome.point.name, wanted):
                return outcome.point.name, Path(outcome.point.config.output.output), outcome.record.model_step
        folder = Path(wanted)
        if run_of(wanted) is None:
            raise ConfigError([f"realign = {wanted}: is neither a point nor the folder of a run."])
        return folder.resolve().name, folder, PointRecord().model_step


def _is_meant(name: str, wanted: str) -> bool:
    """True if `wanted` names the point or its folder, with or without the seed.

    >>> _is_meant("beta=0.1,seed=0", "beta=0.1"), _is_meant("beta=0.15,seed=0", "beta=0.1")
    (True, False)
    """
    last = Path(wanted).name
    return name == last or name.startswith(f"{last},")
