"""The evaluation of one model of a sweep, by `preftune.evaluation`."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from rich.console import Console

from preftune.errors import ConfigError, DataError, TrainingError
from preftune.evaluation.by_prompt import ByPrompt, PromptRecord
from preftune.evaluation.evaluate import evaluate
from preftune.evaluation.result import EvaluationResult
from preftune.files.run_files import SUMMARY
from preftune.judges.function import ScoringJudge
from preftune.judges.judging import find_judge
from preftune.model.forward.arithmetic import Arithmetic
from preftune.settings.evaluation_config import EvaluationConfig
from preftune.settings.sweep_config import SweepConfig
from preftune.settings.sweep_sections import VALUE_TEXTS
from preftune.sweep.evaluated import Evaluated

__all__ = ["ModelEvaluator", "check_judge"]


@dataclass(frozen=True, slots=True)
class ModelEvaluator:
    """Evaluates models of a sweep, and finds evaluations that an earlier call made.

    Args:
        config: Of the sweep.
        console: Where progress goes.
    """

    config: SweepConfig
    console: Console

    def of_model(self, folder: Path, step: int) -> Evaluated:
        """The evaluation of a run or checkpoint; also in its `evaluation.json`.

        Args:
            folder: Of the model.
            step: Steps that it was trained for.
        Raises:
            PreftuneError: it cannot be evaluated.
        """
        return self._kept_or_new(folder, folder, step, 1.0, {})

    def of_mix(self, folder: Path, step: int, strength: float, place: Path) -> Evaluated:
        """The evaluation of a run mixed with its reference.

        Args:
            folder: Of the run.
            step: Steps that it was trained for.
            strength: Of the mix.
            place: Folder for the result.
        Raises:
            PreftuneError: it cannot be evaluated.
        """
        place.mkdir(parents=True, exist_ok=True)
        file = {"json": str(place / "evaluation.json"), "overwrite": True}
        return self._kept_or_new(folder, place, step, strength, {"strength": strength, **file})

    def _kept_or_new(
        self, folder: Path, place: Path, step: int, strength: float, further: Mapping[str, Any]
    ) -> Evaluated:
        kept = Evaluated.read(place, newer_than=folder / SUMMARY)
        if kept is not None and kept.is_complete and (kept.folder, kept.strength) == (str(folder), strength):
            return kept
        record: PromptRecord = {}
        config = EvaluationConfig.of(model=str(folder), **self.config.evaluation, **further)
        result = evaluate(config, console=self.console, by_prompt=record)
        value = record.get(self.config.value)
        if value is None or "kl" not in record:
            missing = VALUE_TEXTS[self.config.value] if value is None else "KL to the reference"
            raise DataError(
                f"{folder}: the evaluation gives no {missing}. Look into {place / 'evaluation.json'}, or value points "
                "by something else: --reward, --judge."
            )
        if not (isfinite(value.mean) and isfinite(record["kl"].mean)):
            raise TrainingError(
                f"{folder}: its {VALUE_TEXTS[self.config.value]} is {value.mean:g} and its KL {record['kl'].mean:g}, "
                "so the model is broken. Look at its metrics.jsonl; a lower learning rate may do."
            )
        found = Evaluated(
            folder=str(folder),
            step=step,
            strength=strength,
            value=value,
            kl=record["kl"],
            accuracy=record.get("accuracy"),
            reference_value=self._reference_value(config, record.get("their_score")),
            is_complete=_is_complete(result),
        )
        found.write(place)
        return found

    def _reference_value(self, config: EvaluationConfig, their_score: ByPrompt | None) -> float | None:
        """What the reference itself has: half of the pairs and comparisons by definition, or its own mean score."""
        if self.config.value == "accuracy":
            return 0.5
        if config.judge.against not in (None, "reference"):
            return None
        if self.config.value == "win_rate":
            return 0.5
        return None if their_score is None else their_score.mean


def check_judge(config: SweepConfig) -> None:
    """Find out before anything is trained whether the judge is there, unless it is a model that takes long to load.

    Raises:
        ConfigError: a reward that compares instead of scoring, or an endpoint that cannot be asked.
        JudgeError: no such function.
    """
    name = config.evaluation.get("judge")
    if name is None or str(name).startswith("reward:"):
        return
    probe = EvaluationConfig.of(model="-", data="-", **config.evaluation)
    judge = find_judge(probe.judge, Arithmetic.of(probe.model))
    if config.value == "score" and not isinstance(judge, ScoringJudge):
        raise ConfigError(
            [
                f"reward = {name}: compares two completions. Give a function of (prompt, completion) that gives a "
                "number, or let it compare with --judge."
            ]
        )


def _is_complete(result: EvaluationResult) -> bool:
    return all(rate.num_without_verdict == 0 for rate in result.win_rates)
