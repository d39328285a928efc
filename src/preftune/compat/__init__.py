"""The trainers and configs that users of TRL know, by the same names and arguments."""

from preftune.compat.dpo import DPOConfig, DPOTrainer
from preftune.compat.kto import KTOConfig, KTOTrainer
from preftune.compat.reference_free import CPOConfig, CPOTrainer, ORPOConfig, ORPOTrainer, SFTConfig, SFTTrainer

__all__ = [
    "CPOConfig",
    "CPOTrainer",
    "DPOConfig",
    "DPOTrainer",
    "KTOConfig",
    "KTOTrainer",
    "ORPOConfig",
    "ORPOTrainer",
    "SFTConfig",
    "SFTTrainer",
]
