"""The one table of losses. A new method is a function, a row here and a row in the tests."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from preftune.losses.anchored import apo_down, apo_zero, bco_pair, nca_pair, sppo_hard, updated_bco_pair
from preftune.losses.length import dpo_length_normalized, ld_dpo, rdpo_length
from preftune.losses.lists import infonca, lipo_lambda, nca, plackett_luce
from preftune.losses.loss import Argument, Loss, Unit
from preftune.losses.margin import discopop, dpop, exo_pair, odpo
from preftune.losses.pairwise import dpo, hinge, ipo, robust_dpo
from preftune.losses.reference_free import cpo, orpo, preferred_ft, sft, simpo, slic, unlikelihood
from preftune.losses.reward_model import bradley_terry, bradley_terry_margin, plackett_luce_rewards
from preftune.losses.texts import FEEDBACK_TEXTS
from preftune.losses.thumbs import apo_zero_unpaired, bco, kto, updated_bco
from preftune.losses.token_level import tdpo, wpo
from preftune.losses.whole_step import aot, aot_unpaired, average_gap, beta_dpo


def _with_reference(function: Callable[..., Tensor], source: str, *more: Argument, **fields: Any) -> Loss:
    """A loss of pairs against a reference, of `chosen`, `rejected` and what else it takes."""
    takes: tuple[Argument, ...] = ("chosen", "rejected", *more)
    return Loss(function, takes, "pair", needs_reference=True, source=source, **{"reward": "logratio", **fields})


def _without_reference(function: Callable[..., Tensor], source: str, **fields: Any) -> Loss:
    """A loss of pairs that looks at the policy alone."""
    return Loss(function, ("chosen", "rejected"), "pair", needs_reference=False, source=source, **fields)


def _of_thumbs(function: Callable[..., Tensor], source: str, *more: Argument, **fields: Any) -> Loss:
    """A loss of completions with thumbs up or down, against a reference."""
    takes: tuple[Argument, ...] = ("completions", "desirable", *more)
    return Loss(function, takes, "completion", needs_reference=True, source=source, reward="logratio", **fields)


def _of_lists(function: Callable[..., Tensor], source: str, **fields: Any) -> Loss:
    """A loss of all scored completions of a prompt, against a reference."""
    takes: tuple[Argument, ...] = ("completions", "scores", "prompts")
    return Loss(function, takes, "prompt", needs_reference=True, source=source, reward="logratio", **fields)


LOSSES: Mapping[str, Loss] = {
    "sft": Loss(sft, ("completions",), "token", needs_reference=False, source="maximum likelihood"),
    # pairs, with a reference
    "dpo": _with_reference(dpo, "arXiv:2305.18290", defaults={"beta": 0.1}, tiltable=True),
    "robust_dpo": _with_reference(
        robust_dpo, "arXiv:2403.00409", defaults={"beta": 0.1, "label_smoothing": 0.1}, tiltable=True
    ),
    "ipo": _with_reference(ipo, "arXiv:2310.12036", defaults={"tau": 0.1}, scale="tau"),
    "hinge": _with_reference(hinge, "arXiv:2309.06657", defaults={"beta": 0.05}, tiltable=True),
    "dpo_length_normalized": _with_reference(
        dpo_length_normalized, "arXiv:2411.15124", defaults={"beta": 5.0}, reward="mean_logratio"
    ),
    "rdpo_length": _with_reference(
        rdpo_length, "arXiv:2403.19159", defaults={"beta": 0.1, "alpha": 0.01}, tiltable=True
    ),
    "ld_dpo": _with_reference(
        ld_dpo, "arXiv:2409.06411", "chosen_shared", "rejected_shared", defaults={"beta": 0.1, "alpha": 0.5}
    ),
    "odpo": _with_reference(odpo, "arXiv:2402.10571", "margins", defaults={"beta": 0.1}, tiltable=True),
    "dpop": _with_reference(dpop, "arXiv:2402.13228", defaults={"beta": 0.3, "penalty": 50.0}),
    "tdpo": _with_reference(
        tdpo, "arXiv:2404.11999", "chosen_kl", "rejected_kl", defaults={"beta": 0.1}, tiltable=True
    ),
    "wpo": _with_reference(
        wpo, "arXiv:2406.11827", "chosen_alignment", "rejected_alignment", defaults={"beta": 0.01}, tiltable=True
    ),
    "beta_dpo": _with_reference(
        beta_dpo,
        "arXiv:2407.08639",
        "state",
        defaults={"beta": 0.1, "alpha": 0.6, "kept": 0.8, "momentum": 0.9},
        across_rows=True,
        update=average_gap,
    ),
    "exo_pair": _with_reference(exo_pair, "arXiv:2402.00856", defaults={"beta": 0.1}, tiltable=True),
    "discopop": _with_reference(discopop, "arXiv:2406.08414", defaults={"beta": 0.05}, tiltable=True),
    "nca_pair": _with_reference(nca_pair, "arXiv:2402.05369", defaults={"beta": 0.01}),
    "bco_pair": _with_reference(
        bco_pair,
        "arXiv:2404.04656",
        "state",
        defaults={"beta": 0.1},
        across_rows=True,
        joined_by="shift",
        update=updated_bco_pair,
    ),
    "sppo_hard": _with_reference(sppo_hard, "arXiv:2405.00675", defaults={"beta": 0.001}),
    "aot": _with_reference(aot, "arXiv:2406.05882", defaults={"beta": 0.1}, across_rows=True),
    "aot_unpaired": _with_reference(aot_unpaired, "arXiv:2406.05882", defaults={"beta": 0.1}, across_rows=True),
    "apo_zero": _with_reference(apo_zero, "arXiv:2408.06266", defaults={"beta": 0.1}),
    "apo_down": _with_reference(apo_down, "arXiv:2408.06266", defaults={"beta": 0.1}),
    # pairs, without a reference
    "orpo": _without_reference(
        orpo, "arXiv:2403.07691", defaults={"lambda_or": 0.1}, reward="mean_logp", scale="lambda_or"
    ),
    "simpo": _without_reference(simpo, "arXiv:2405.14734", defaults={"beta": 2.0, "gamma": 1.0}, reward="mean_logp"),
    "cpo": _without_reference(cpo, "arXiv:2401.08417", defaults={"beta": 0.1}, reward="logp"),
    "slic": _without_reference(slic, "arXiv:2305.10425", defaults={"delta": 1.0, "lambda_reg": 0.1}, reward="logp"),
    "unlikelihood": _without_reference(unlikelihood, "arXiv:1908.04319"),
    "preferred_ft": Loss(preferred_ft, ("chosen",), "token", needs_reference=False, source="arXiv:2305.18290"),
    # completions with thumbs up or down
    "kto": _of_thumbs(kto, "arXiv:2402.01306", "mismatched", defaults={"beta": 0.1}),
    "apo_zero_unpaired": _of_thumbs(apo_zero_unpaired, "arXiv:2408.06266", defaults={"beta": 0.1}),
    "bco": _of_thumbs(bco, "arXiv:2404.04656", "state", defaults={"beta": 0.1}, across_rows=True, update=updated_bco),
    # lists of scored completions
    "plackett_luce": _of_lists(plackett_luce, "arXiv:2305.18290", defaults={"beta": 0.1}, tiltable=True),
    "infonca": _of_lists(infonca, "arXiv:2402.05369", defaults={"beta": 0.01}, tiltable=True),
    "nca": _of_lists(nca, "arXiv:2402.05369", defaults={"beta": 0.01}),
    "lipo_lambda": _of_lists(lipo_lambda, "arXiv:2402.01878", defaults={"beta": 0.05}, tiltable=True),
}


def _of_rewards(function: Callable[..., Tensor], unit: Unit, *takes: Argument, source: str) -> Loss:
    """A loss of the outputs of a reward model."""
    return Loss(function, takes, unit, needs_reference=False, source=source, reward="output")


_SIDES: tuple[Argument, ...] = ("chosen_rewards", "rejected_rewards")

REWARD_LOSSES: Mapping[str, Loss] = {
    "bradley_terry": _of_rewards(bradley_terry, "pair", *_SIDES, source="arXiv:2203.02155"),
    "bradley_terry_margin": _of_rewards(bradley_terry_margin, "pair", *_SIDES, "margins", source="arXiv:2307.09288"),
    "plackett_luce_rewards": _of_rewards(
        plackett_luce_rewards, "prompt", "rewards", "scores", "prompts", source="arXiv:2305.18290"
    ),
}
"""Losses of reward models, which `preftune reward` trains."""

ALL_LOSSES: Mapping[str, Loss] = {**LOSSES, **REWARD_LOSSES}


def losses_by_title() -> dict[str, dict[str, Loss]]:
    """All losses, grouped by the data that they learn from; those of reward models by themselves.

    >>> list(losses_by_title()["Demonstrations: completions to imitate"])
    ['sft']
    """
    groups: dict[str, dict[str, Loss]] = {title: {} for title in FEEDBACK_TEXTS.values()}
    for name, loss in LOSSES.items():
        groups[FEEDBACK_TEXTS[loss.feedback]][name] = loss
    return {**groups, "Reward models: a reward of a completion, learned from pairs or lists": dict(REWARD_LOSSES)}
