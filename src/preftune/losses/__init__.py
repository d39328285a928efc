"""Losses: pure functions of log-probs per completion, one table, and the binding of options."""

from preftune.losses.demonstrations import sft
from preftune.losses.logps import PolicyLogps, ReferencedLogps
from preftune.losses.method import Method, Option, find_loss, loss_options
from preftune.losses.pairwise import dpo
from preftune.losses.table import LOSSES, Feedback, Loss, Unit

__all__ = [
    "LOSSES",
    "Feedback",
    "Loss",
    "Method",
    "Option",
    "PolicyLogps",
    "ReferencedLogps",
    "Unit",
    "dpo",
    "find_loss",
    "loss_options",
    "sft",
]
