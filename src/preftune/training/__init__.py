"""Training: the settings of a run, the trainer, and a whole run from settings to a saved model."""

from preftune.training.config import TrainConfig
from preftune.training.objective import Objective
from preftune.training.result import RunResult
from preftune.training.run import train
from preftune.training.trainer import PreferenceTrainer

__all__ = ["Objective", "PreferenceTrainer", "RunResult", "TrainConfig", "train"]
