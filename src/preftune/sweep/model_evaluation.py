"""The evaluation of one model of a sweep, and the file that keeps it."""

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
from preftune.files.json_files import read_record, write_json
from preftune.files.run_files import SUMMARY
from preftune.judges.function import ScoringJudge
from preftune.judges.judging import find_judge
from preftune.metrics.intervals import Bootstrap, Interval
from preftune.model.forward.arithmetic import Arithmetic
from preftune.settings.evaluation_config import EvaluationConfig
from preftune.settings.sweep_config import SweepConfig
from preftune.settings.sweep_sections import VALUE_TEXTS, ValueKind

_FILE = "sweep-evaluation.json"


@dataclass(frozen=True, slots=True)
class ModelEvaluation:
    """A model's value and its distance from the reference, prompt by prompt.

    Args:
        step: Optimizer steps it was trained for.
        strength: Strength of the mix with the reference; 1 for the model itself.
        kl: KL to the reference over whole completions. Unit: nats.
        is_complete: False if something is missing, such as verdicts beyond a judge's budget.
    """

    folder: str
    step: int
    strength: float
    value: ByPrompt
    kl: ByPrompt
    accuracy: ByPrompt | None
    reference_value: float | None
    is_complete: bool

    def write(self, folder: Path) -> None:
        """Write it into a folder, atomically.

        Raises:
            SaveError: it cannot be written.
        """
        write_json(folder / _FILE, self)

    @staticmethod
    def read(folder: Path, *, newer_than: Path | None = None) -> "ModelEvaluation | None":
        """The evaluation in a folder; None if missing, unreadable or older than the file `newer_than`."""
        try:
            made = (folder / _FILE).stat().st_mtime
            if newer_than is not None and newer_than.exists() and newer_than.stat().st_mtime > made:
                return None
            return read_record(ModelEvaluation, folder / _FILE, made_by="`preftune sweep`")
        except (OSError, DataError):
            return None


def interval_of(measured: ByPrompt, kind: ValueKind | None, bootstrap: Bootstrap) -> Interval:
    """The mean with its interval. `kind` is the kind of value, None for a KL.

    >>> measured = ByPrompt(("a", "b"), (1.0, 1.0), (1.0, 1.0))
    >>> str(interval_of(measured, "accuracy", Bootstrap(num_resamples=10)))  # 0.158 ** 2 = 0.025
    '1.000 [0.158, 1.000]'
    """
    is_share = kind in ("win_rate", "accuracy")
    make = bootstrap.share if is_share else bootstrap.interval
    return make(measured.statistic, len(measured.prompts))


@dataclass(frozen=True, slots=True)
class ModelEvaluator:
    """Evaluates models of a sweep, and reuses evaluations of earlier calls."""

    config: SweepConfig
    console: Console

    def of_model(self, folder: Path, step: int) -> ModelEvaluation:
        """The evaluation of a run or checkpoint after `step` steps; also in its `evaluation.json`.

        Raises:
            PreftuneError: it cannot be evaluated.
        """
        return self._kept_or_new(folder, folder, step, 1.0, {})

    def of_mix(self, folder: Path, step: int, strength: float, place: Path) -> ModelEvaluation:
        """The evaluation of a run mixed with its reference, kept in the folder `place`.

        Raises:
            PreftuneError: it cannot be evaluated.
        """
        place.mkdir(parents=True, exist_ok=True)
        file = {"json": str(place / "evaluation.json"), "overwrite": True}
        return self._kept_or_new(folder, place, step, strength, {"strength": strength, **file})

    def _kept_or_new(
        self, folder: Path, place: Path, step: int, strength: float, further: Mapping[str, Any]
    ) -> ModelEvaluation:
        kept = ModelEvaluation.read(place, newer_than=folder / SUMMARY)
        if kept is not None and kept.is_complete and (kept.folder, kept.strength) == (str(folder), strength):
            return kept
        record: PromptRecord = {}
        config = EvaluationConfig.of(model=str(folder), **self.config.evaluation, **further)
        result = evaluate(config, console=self.console, by_prompt=record)
        value = record.get(self.config.value)
        if value is None or "kl" not in record:
            missing = VALUE_TEXTS[self.config.value] if value is None else "KL to the reference"
            raise DataError(
                f"{folder}: the evaluation gives no {missing}. See {place / 'evaluation.json'}, or value points by "
                "something else: --reward, --judge."
            )
        if not (isfinite(value.mean) and isfinite(record["kl"].mean)):
            raise TrainingError(
                f"{folder}: its {VALUE_TEXTS[self.config.value]} is {value.mean:g} and its KL {record['kl'].mean:g}, "
                "so the model is broken. See its metrics.jsonl; try a lower learning rate."
            )
        found = ModelEvaluation(
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
        """The reference's own value: 0.5 for accuracy and win rate by definition, else its mean score."""
        if self.config.value == "accuracy":
            return 0.5
        if config.judge.against not in (None, "reference"):
            return None
        if self.config.value == "win_rate":
            return 0.5
        return None if their_score is None else their_score.mean


def check_judge(config: SweepConfig) -> None:
    """Check before any training that the judge exists and fits. Reward models are not loaded for this.

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
                f"reward = {name}: compares two completions. Give a function of (prompt, completion) that returns a "
                "number, or use it as a judge with --judge."
            ]
        )


def _is_complete(result: EvaluationResult) -> bool:
    return all(rate.num_without_verdict == 0 for rate in result.win_rates)
