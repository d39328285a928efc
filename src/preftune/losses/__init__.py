"""Losses: pure functions of log-probs per completion, one table, and the binding of options."""

from preftune.losses.anchored import apo_down, apo_zero, bco_pair, nca_pair, sppo_hard
from preftune.losses.length import dpo_length_normalized, ld_dpo, rdpo_length
from preftune.losses.lists import infonca, lipo_lambda, nca, plackett_luce
from preftune.losses.logps import PolicyLogps, ReferencedLogps, TokenLogps
from preftune.losses.loss import INPUTS, Argument, Feedback, Input, Loss, Need, OptionValue, Reward, Unit
from preftune.losses.margin import discopop, dpop, exo_pair, odpo
from preftune.losses.method import Method, Part, ReferenceUse, find_loss, losses_of
from preftune.losses.options import Option, loss_options
from preftune.losses.pairwise import dpo, hinge, ipo, robust_dpo
from preftune.losses.reference_free import cpo, orpo, preferred_ft, sft, simpo, slic, unlikelihood
from preftune.losses.reward_model import bradley_terry, bradley_terry_margin, plackett_luce_rewards
from preftune.losses.table import ALL_LOSSES, LOSSES, REWARD_LOSSES
from preftune.losses.thumbs import apo_zero_unpaired, bco, kto, kto_weight_problem
from preftune.losses.token_level import tdpo, wpo
from preftune.losses.whole_step import aot, aot_unpaired, beta_dpo

__all__ = [
    "ALL_LOSSES",
    "INPUTS",
    "LOSSES",
    "REWARD_LOSSES",
    "Argument",
    "Feedback",
    "Input",
    "Loss",
    "Method",
    "Need",
    "Option",
    "OptionValue",
    "Part",
    "PolicyLogps",
    "ReferenceUse",
    "ReferencedLogps",
    "Reward",
    "TokenLogps",
    "Unit",
    "aot",
    "aot_unpaired",
    "apo_down",
    "apo_zero",
    "apo_zero_unpaired",
    "bco",
    "bco_pair",
    "beta_dpo",
    "bradley_terry",
    "bradley_terry_margin",
    "cpo",
    "discopop",
    "dpo",
    "dpo_length_normalized",
    "dpop",
    "exo_pair",
    "find_loss",
    "hinge",
    "infonca",
    "ipo",
    "kto",
    "kto_weight_problem",
    "ld_dpo",
    "lipo_lambda",
    "loss_options",
    "losses_of",
    "nca",
    "nca_pair",
    "odpo",
    "orpo",
    "plackett_luce",
    "plackett_luce_rewards",
    "preferred_ft",
    "rdpo_length",
    "robust_dpo",
    "sft",
    "simpo",
    "slic",
    "sppo_hard",
    "tdpo",
    "unlikelihood",
    "wpo",
]
