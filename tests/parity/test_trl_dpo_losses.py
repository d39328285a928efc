"""Every loss type of TRL's `DPOTrainer`, run for real beside ours: two steps, against a reference that differs."""

from pathlib import Path
from typing import Any

import pytest

from preftune import DPOConfig, DPOTrainer
from preftune.compat.dpo import LOSS_TYPES
from tests.parity.side_by_side import hh_rows, largest_difference, make_llama, run, settings, small_heap, trl

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures(small_heap.__name__)]

ROWS = hh_rows(16)
REWARDS = ("rewards/chosen", "rewards/rejected", "rewards/margins")
LOGPS = ("logps/chosen", "logps/rejected")

# What beside the loss type is set, so that the loss can be computed and steps are neither tiny nor huge.
OF_TYPE: dict[str, dict[str, Any]] = {
    "exo_pair": {"label_smoothing": 0.01},
    "robust": {"label_smoothing": 0.1},
    "aot": {"label_smoothing": 0.1},
    "aot_unpaired": {"label_smoothing": 0.1},
    "discopop": {"discopop_tau": 0.2},
    "ipo": {"learning_rate": 1e-2},
    "sppo_hard": {"learning_rate": 1e-3},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "ld_alpha": {"ld_alpha": 0.3},
    "ld_alpha of 1": {"ld_alpha": 1.0},
    "use_weighting": {"use_weighting": True, "learning_rate": 1.0},
    "forward_kl": {"f_divergence_type": "forward_kl", "learning_rate": 1e-2},
    "js_divergence": {"f_divergence_type": "js_divergence"},
    "alpha_divergence": {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.3},
    "forward_kl and sft": {"loss_type": ["sft", "sigmoid"], "f_divergence_type": "forward_kl", "learning_rate": 1e-2},
    "ld_alpha and sft": {"loss_type": ["sigmoid", "sft"], "ld_alpha": 0.3},
    "mpo": {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]},
    "robust and ipo": {"loss_type": ["robust", "ipo"], "label_smoothing": 0.1, "learning_rate": 1e-2},
    "a weight alone": {"loss_type": "hinge", "loss_weights": [0.5]},
    "sync_ref_model": {"sync_ref_model": True, "ref_model_sync_steps": 1, "ref_model_mixup_alpha": 0.3},
}
CASES = {name: {"loss_type": [name], **OF_TYPE.get(name, {})} for name in LOSS_TYPES} | VARIANTS

ADDED = {"apo_zero": 1.0, "apo_down": 1.0}
"""Constants that TRL adds to a loss."""

NO_REWARDS = ("sft", "sigmoid_norm")
"""Loss types whose rewards differ: without a reference there are none here, and ours are means as in the loss."""


def compared(name: str) -> list[str]:
    """The metrics that mean the same on both sides, beside the loss."""
    if CASES[name].get("ld_alpha", 1.0) != 1.0:
        return ["grad_norm"]  # TRL's are of the weighted tokens
    return ["grad_norm", *LOGPS, *(() if name in NO_REWARDS else REWARDS)]


@pytest.mark.parametrize("name", CASES)
def test_two_steps_agree(tmp_path: Path, name: str) -> None:
    # Plain gradient descent: what Adam makes of gradients that are all but zero is their rounding.
    plain = {"optim": "sgd", "learning_rate": 0.1, "lr_scheduler_type": "constant", "max_grad_norm": 0.0}
    given = settings(tmp_path, **{**plain, **CASES[name]})
    reference = {} if name == "sft" else {"ref_model": make_llama(seed=1)}
    ours = run(DPOTrainer, DPOConfig, make_llama(), given, ROWS, **reference)
    theirs = run(trl.DPOTrainer, trl.DPOConfig, make_llama(), given, ROWS, ref_model=make_llama(seed=1))
    assert theirs[0]["grad_norm"] * given["learning_rate"] > 0.01, "steps must move the model"
    for log in ours:
        log["loss"] += ADDED.get(name, 0.0)
    assert largest_difference(ours, theirs, ["loss"])["loss"] < 1e-5
    differences = largest_difference(ours, theirs, compared(name))
    assert max(differences.values()) < 2e-5, differences


@pytest.mark.parametrize("loss_type", ["aot", "aot_unpaired"])
def test_what_trl_sorts_in_micro_batches_is_sorted_over_the_step(tmp_path: Path, loss_type: str) -> None:
    changes: dict[str, Any] = {"loss_type": [loss_type], "optim": "sgd", "learning_rate": 0.1}
    whole = settings(tmp_path, **changes)
    halves = settings(tmp_path, **changes, per_device_train_batch_size=4, gradient_accumulation_steps=2)
    in_one, in_two = (
        run(DPOTrainer, DPOConfig, make_llama(), given, ROWS, ref_model=make_llama(seed=1)) for given in (whole, halves)
    )
    assert largest_difference(in_two, in_one, ["loss"])["loss"] < 1e-5
    theirs = run(trl.DPOTrainer, trl.DPOConfig, make_llama(), halves, ROWS, ref_model=make_llama(seed=1))
    assert largest_difference(in_two, theirs, ["loss"])["loss"] > 1e-3


def test_bco_pair_needs_no_second_pass_over_the_step(tmp_path: Path) -> None:
    given = settings(tmp_path, loss_type=["bco_pair"], per_device_train_batch_size=2, gradient_accumulation_steps=4)
    assert not DPOConfig(**given).method.across_rows
    ours = run(DPOTrainer, DPOConfig, make_llama(), given, ROWS, ref_model=make_llama(seed=1))
    theirs = run(trl.DPOTrainer, trl.DPOConfig, make_llama(), given, ROWS, ref_model=make_llama(seed=1))
    assert largest_difference(ours, theirs, ["loss"])["loss"] < 1e-5
