import pytest
import torch

from preftune.losses import LOSSES, Loss, Part, PolicyLogps
from preftune.losses.logps import TokenLogps
from studies.enumerable import World, fit, kl_divergence, method_in, outcomes, total_variation
from studies.enumerable.feedback import Feedback, Lists, Pairs

WORLD = World.drawn()


@pytest.mark.parametrize(
    ("name", "feedback"),
    [
        pytest.param("dpo", Pairs.of(WORLD), id="dpo"),
        pytest.param("plackett_luce", Lists.of_orders(WORLD), id="plackett_luce"),
        pytest.param("infonca", Lists.of_scores(WORLD), id="infonca"),
    ],
)
def test_the_optimum_is_reached(name: str, feedback: Feedback) -> None:
    assert total_variation(WORLD.reference, WORLD.optimum) > 0.5
    policy = fit(method_in(WORLD, name), feedback, WORLD, num_steps=300)
    assert total_variation(policy, WORLD.optimum) < 1e-3


@pytest.mark.skipif("ipo" not in LOSSES, reason="there is no loss of that name")
def test_ipo_converges_to_the_margin_of_its_paper() -> None:
    preferred = (WORLD.rewards[:, :, None] - WORLD.rewards[:, None, :]).sigmoid()
    wins = (preferred * WORLD.reference.exp()[:, None, :]).sum(-1)
    expected = (WORLD.reference + wins / 0.1).log_softmax(-1)
    policy = fit(method_in(WORLD, "ipo"), Pairs.of(WORLD), WORLD, num_steps=500)
    assert total_variation(policy, expected) < 1e-3
    assert total_variation(expected, WORLD.optimum) > 0.05


def test_imitation_of_the_reference_stays_there() -> None:
    (outcome,) = outcomes(method_in(WORLD, "sft"), WORLD, num_steps=400)
    assert outcome.policy is not None
    assert kl_divergence(outcome.policy, WORLD.reference) < 1e-6
    assert outcome.end == "at rest"


def test_a_loss_without_contradiction_runs_to_infinity() -> None:
    by_orders, by_scores = outcomes(method_in(WORLD, "plackett_luce"), WORLD, num_steps=1000)
    assert (by_orders.end, by_scores.end) == ("at rest", "runs to infinity")


@pytest.mark.parametrize("name", LOSSES)
def test_every_method_of_the_table_can_be_trained_in_the_world(name: str) -> None:
    for outcome in outcomes(method_in(WORLD, name), WORLD, num_steps=4):
        assert outcome.policy is not None
        assert outcome.policy.isfinite().all()
        assert not torch.equal(outcome.policy, WORLD.reference)


def test_the_world_sets_beta_and_leaves_other_options_as_they_are() -> None:
    assert method_in(WORLD, "bco").options == {"beta": WORLD.beta, "shift_decay": 1.0}
    assert method_in(WORLD, "preferred_ft").options == {}


def test_a_loss_with_an_input_that_the_world_lacks_is_left_out_with_the_reason() -> None:
    def of_tokens(chosen: PolicyLogps, tokens: TokenLogps) -> torch.Tensor:
        return tokens.policy.sum() - chosen.policy

    loss = Loss(of_tokens, ("chosen", "tokens"), "pair", needs_reference=False, source="nowhere")
    (outcome,) = outcomes(Part("of_tokens", loss, {}), WORLD)
    assert outcome.policy is None
    assert outcome.end == "left out: a table of logits has no tokens"
