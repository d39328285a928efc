"""Every loss that TRL has too, against its own code, run for real on the same log-probs: values and gradients."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from preftune.losses import LOSSES, preferred_ft
from tests.losses.case import loss_of
from tests.parity.trl_stand_in import TokenPairs, trl_loss, trl_losses

pytestmark = pytest.mark.filterwarnings("ignore")  # TRL's own warnings, and those it calls forth


@dataclass(frozen=True)
class Row:
    """A loss of ours and what TRL calls it.

    Args:
        name: Ours, in the table.
        options: Ours.
        loss_type: TRL's.
        settings: TRL's.
        dtype: Of both; TRL does not know some of its losses in float64.
        constant: What TRL adds to the loss of every pair.
    """

    name: str
    options: Mapping[str, Any]
    loss_type: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float64
    constant: float = 0.0


ROWS = {
    "dpo": Row("dpo", {"beta": 0.3}, "sigmoid", {"beta": 0.3}),
    "dpo, label smoothing": Row(  # `sigmoid` does not smooth; `aot` does, and with one pair its sorting is idle
        "dpo", {"beta": 0.3, "label_smoothing": 0.1}, "aot", {"beta": 0.3, "label_smoothing": 0.1}
    ),
    "dpo, forward_kl": Row(
        "dpo", {"beta": 0.3, "divergence": "forward_kl"}, "sigmoid", {"beta": 0.3, "f_divergence_type": "forward_kl"}
    ),
    "dpo, js": Row(
        "dpo", {"beta": 0.3, "divergence": "js"}, "sigmoid", {"f_divergence_type": "js_divergence", "beta": 0.3}
    ),
    "dpo, alpha": Row(  # alpha counts from the other end, and float64 is a KeyError
        "dpo",
        {"beta": 0.3, "divergence": "alpha", "alpha": 0.3},
        "sigmoid",
        {"beta": 0.3, "f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.7},
        torch.float32,
    ),
    "robust_dpo": Row(
        "robust_dpo", {"beta": 0.3, "label_smoothing": 0.1}, "robust", {"beta": 0.3, "label_smoothing": 0.1}
    ),
    "ipo": Row("ipo", {"tau": 0.2, "length_normalized": True}, "ipo", {"beta": 0.2}),
    "hinge": Row("hinge", {"beta": 0.3}, "hinge", {"beta": 0.3}),
    "dpo_length_normalized": Row("dpo_length_normalized", {"beta": 5.0}, "sigmoid_norm", {"beta": 5.0}),
    "ld_dpo": Row("ld_dpo", {"beta": 0.3, "alpha": 0.25}, "sigmoid", {"beta": 0.3, "ld_alpha": 0.25}),
    "wpo": Row("wpo", {"beta": 0.3, "clamped": False}, "sigmoid", {"beta": 0.3, "use_weighting": True}),
    "exo_pair": Row(
        "exo_pair", {"beta": 0.3, "label_smoothing": 0.01}, "exo_pair", {"beta": 0.3, "label_smoothing": 0.01}
    ),
    "nca_pair": Row("nca_pair", {"beta": 0.3}, "nca_pair", {"beta": 0.3}),
    "bco_pair without a shift": Row("bco_pair", {"beta": 0.3, "shift": False}, "bco_pair", {"beta": 0.3}),
    "sppo_hard": Row("sppo_hard", {"beta": 0.3}, "sppo_hard", {"beta": 0.3}),
    "aot": Row("aot", {"beta": 0.3, "label_smoothing": 0.1}, "aot", {"beta": 0.3, "label_smoothing": 0.1}),
    "aot_unpaired": Row(
        "aot_unpaired", {"beta": 0.3, "label_smoothing": 0.1}, "aot_unpaired", {"beta": 0.3, "label_smoothing": 0.1}
    ),
    "apo_zero": Row("apo_zero", {"beta": 0.3}, "apo_zero", {"beta": 0.3}, constant=1.0),
    "apo_down": Row("apo_down", {"beta": 0.3}, "apo_down", {"beta": 0.3}, constant=1.0),
    "discopop": Row("discopop", {"beta": 0.3, "tau": 0.2}, "discopop", {"beta": 0.3, "discopop_tau": 0.2}),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_the_loss_and_its_gradient_by_every_token_equal_those_of_trl(row: Row) -> None:
    pairs = TokenPairs.random(dtype=row.dtype)
    ours = loss_of(row.name, pairs.arguments(), row.options)
    if LOSSES[row.name].across_rows:
        ours, theirs = ours.mean(), trl_loss(row.loss_type, pairs, **row.settings)
    else:
        theirs = trl_losses(row.loss_type, pairs, **row.settings)
    tolerance = 1e-6 if row.dtype == torch.float64 else 1e-4
    torch.testing.assert_close(ours + row.constant, theirs, rtol=tolerance, atol=tolerance)
    gradients = [torch.autograd.grad(loss.sum(), pairs.policy)[0] for loss in (ours, theirs)]
    assert gradients[1].abs().max() > 1e-3, "the comparison is only worth something if there is a gradient"
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)


def test_preferred_ft_averaged_over_tokens_equals_the_sft_loss_of_trl() -> None:
    pairs = TokenPairs.random()
    chosen = pairs.arguments()["chosen"]
    ours = preferred_ft(chosen).sum() / chosen.num_tokens.sum()
    torch.testing.assert_close(ours, trl_loss("sft", pairs), rtol=1e-6, atol=1e-6)


def test_aot_of_trl_is_dpo_where_a_micro_batch_holds_one_pair_and_ours_is_not() -> None:
    pairs = TokenPairs.random()
    plain = loss_of("dpo", pairs.arguments(), {"beta": 0.3})
    torch.testing.assert_close(trl_losses("aot", pairs, beta=0.3), plain, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(loss_of("aot", pairs.arguments(), {"beta": 0.3}).mean(), plain.mean(), rtol=1e-3)


def test_discopop_of_trl_is_nan_for_pairs_that_are_far_wrong_and_ours_is_finite() -> None:
    pairs = TokenPairs.random(dtype=torch.float32)
    wrong = torch.cat([torch.full((pairs.num_pairs, 12), -40.0), torch.full((pairs.num_pairs, 12), -0.1)])
    far = replace(pairs, policy=wrong * pairs.mask)
    assert trl_losses("discopop", far, beta=1.0).isnan().any()
    assert loss_of("discopop", far.arguments(), {"beta": 1.0}).isfinite().all()


def test_ipo_of_trl_equals_ours_only_for_answers_of_one_token() -> None:
    pairs = TokenPairs.random()
    ours, theirs = loss_of("ipo", pairs.arguments(), {"tau": 0.2}), trl_losses("ipo", pairs, beta=0.2)
    is_one_token = (pairs.lengths.view(2, -1) == 1).all(0)
    assert is_one_token.any()
    torch.testing.assert_close(ours[is_one_token], theirs[is_one_token], rtol=1e-6, atol=1e-6)
    assert not torch.isclose(ours[~is_one_token], theirs[~is_one_token], rtol=1e-3).any()


def test_sigmoid_of_trl_takes_label_smoothing_and_does_not_use_it() -> None:
    pairs = TokenPairs.random()
    plain, smoothed = (trl_loss("sigmoid", pairs, beta=0.3, label_smoothing=share) for share in (0.0, 0.2))
    assert plain == smoothed
    assert not torch.allclose(loss_of("dpo", pairs.arguments(), {"beta": 0.3, "label_smoothing": 0.2}).mean(), plain)


def test_wpo_of_trl_weighs_likely_pairs_above_1_and_ours_only_on_request() -> None:
    pairs = TokenPairs.random().likely()
    plain = loss_of("dpo", pairs.arguments(), {"beta": 0.3})
    torch.testing.assert_close(loss_of("wpo", pairs.arguments(), {"beta": 0.3}), plain)
    theirs = trl_losses("sigmoid", pairs, beta=0.3, use_weighting=True)
    torch.testing.assert_close(theirs, math.exp(0.2) * plain, rtol=1e-6, atol=1e-6)
    ours = loss_of("wpo", pairs.arguments(), {"beta": 0.3, "clamped": False})
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({"divergence": "forward_kl"}, {"f_divergence_type": "forward_kl"}),
        ({"divergence": "alpha"}, {"f_divergence_type": "alpha_divergence"}),
    ],
)
def test_f_dpo_of_trl_does_not_learn_pairs_whose_chosen_answer_is_far_off_and_ours_does(
    options: dict[str, Any], settings: dict[str, Any]
) -> None:
    pairs = TokenPairs.random(dtype=torch.float32)
    policy = torch.cat([torch.full((pairs.num_pairs, 12), -400.0), torch.full((pairs.num_pairs, 12), -1.0)])
    far = replace(pairs, policy=(policy * pairs.mask).requires_grad_())
    ours, theirs = loss_of("dpo", far.arguments(), options).sum(), trl_losses("sigmoid", far, **settings).sum()
    of_chosen = [torch.autograd.grad(loss, far.policy)[0][: far.num_pairs, 0] for loss in (ours, theirs)]
    assert (of_chosen[0] < 0).all()
    assert ((of_chosen[1] == 0) | ~of_chosen[1].isfinite()).all()
