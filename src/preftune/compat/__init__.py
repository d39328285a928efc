"""The trainer and the config that users of TRL know, by the same names and arguments."""

from preftune.compat.dpo_config import DPOConfig
from preftune.compat.dpo_trainer import DPOTrainer

__all__ = ["DPOConfig", "DPOTrainer"]
