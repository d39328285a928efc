"""What holds for the losses of lists beside their formulas."""

from itertools import permutations
from math import log

import pytest
import torch
from torch import Tensor

from preftune.losses import LOSSES, Method, ReferencedLogps, dpo, infonca, lipo_lambda, nca, plackett_luce
from tests.losses.case import Arguments, loss_of, referenced
from tests.losses.cases_lists import CASES, two_lists

ROWS = two_lists()["completions"]
ONE_PROMPT = torch.zeros(5, dtype=torch.long)
SCORES = torch.tensor([5.0, 3.0, 4.0, 1.0, 2.0], dtype=torch.float64)


def pair_of_lists() -> tuple[ReferencedLogps, ReferencedLogps, Arguments]:
    """Three pairs, and the same as lists of two."""
    chosen = referenced([-12.3, -3.0, -40.0], [-14.1, -2.0, -41.0])
    rejected = referenced([-8.5, -7.0, -38.5], [-7.2, -7.5, -44.0])
    both = ReferencedLogps(
        torch.cat([chosen.policy, rejected.policy]),
        torch.cat([chosen.reference, rejected.reference]),
        torch.cat([chosen.num_tokens, rejected.num_tokens]),
    )
    scores = torch.tensor([1.0, 8.0, 3.0, 0.0, -2.0, 2.5], dtype=torch.float64)
    return chosen, rejected, {"completions": both, "scores": scores, "prompts": torch.tensor([0, 1, 2, 0, 1, 2])}


def test_plackett_luce_of_two_completions_is_dpo() -> None:
    chosen, rejected, lists = pair_of_lists()
    loss = loss_of("plackett_luce", lists, {"beta": 0.3})
    torch.testing.assert_close(loss, dpo(chosen, rejected, beta=0.3), rtol=1e-12, atol=0)


def test_plackett_luce_probabilities_of_all_orders_sum_to_one() -> None:
    rows, prompts = ROWS[torch.arange(4)], torch.zeros(4, dtype=torch.long)
    losses = [plackett_luce(rows, torch.tensor(order), prompts, beta=0.3) for order in permutations(range(4))]
    torch.testing.assert_close(torch.cat(losses).neg().exp().sum().item(), 1.0)


def test_plackett_luce_depends_only_on_the_order_of_the_scores() -> None:
    expected = plackett_luce(ROWS, SCORES, ONE_PROMPT, beta=0.3)
    torch.testing.assert_close(plackett_luce(ROWS, SCORES.exp() - 7, ONE_PROMPT, beta=0.3), expected)


def test_plackett_luce_does_not_compare_completions_with_equal_scores() -> None:
    rewards = 0.3 * ROWS.logratio
    scores = torch.tensor([2.0, 1.0, 2.0, 0.0, 1.0])  # ranked {0, 2}, {1, 4}, {3}
    against = {0: [0, 1, 3, 4], 2: [2, 1, 3, 4], 1: [1, 3], 4: [4, 3], 3: [3]}
    expected = torch.stack([rewards[others].logsumexp(0) - rewards[row] for row, others in against.items()]).sum()
    loss = plackett_luce(ROWS, scores, ONE_PROMPT, beta=0.3)
    torch.testing.assert_close(loss, expected[None], rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["plackett_luce", "lipo_lambda"])
def test_a_prompt_whose_scores_are_all_equal_costs_nothing_and_teaches_nothing(name: str) -> None:
    arguments = {**two_lists(), "scores": torch.tensor([0.5, 0.2, 0.5, 0.6, 0.5])}
    loss = loss_of(name, arguments)
    loss.sum().backward()
    assert loss[0] == 0
    assert loss[1] > 0
    assert arguments["completions"].policy.grad[[0, 2, 4]].tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", CASES)
def test_prompts_are_independent_of_each_other(name: str) -> None:
    arguments = two_lists()
    together = loss_of(name, arguments)
    for prompt in (0, 1):
        own = (arguments["prompts"] == prompt).nonzero()[:, 0]
        alone: Arguments = {
            "completions": arguments["completions"][own],
            "scores": arguments["scores"][own],
            "prompts": torch.zeros_like(own),
        }
        torch.testing.assert_close(loss_of(name, alone), together[prompt : prompt + 1])


@pytest.mark.parametrize("name", CASES)
def test_no_lists_cost_nothing(name: str) -> None:
    empty = torch.zeros(0)
    arguments: Arguments = {
        "completions": ReferencedLogps(empty, empty, empty.long()),
        "scores": empty,
        "prompts": empty.long(),
    }
    assert loss_of(name, arguments).shape == (0,)


@pytest.mark.parametrize("name", CASES)
def test_scores_may_be_of_another_dtype_than_the_log_probs(name: str) -> None:
    arguments = {**two_lists(torch.bfloat16), "scores": two_lists()["scores"]}
    assert loss_of(name, arguments).dtype == torch.bfloat16


def test_infonca_with_scores_far_apart_is_dpo_on_two_completions() -> None:
    chosen, rejected, lists = pair_of_lists()
    loss = loss_of("infonca", lists, {"beta": 0.3, "alpha": 1e-4})
    torch.testing.assert_close(loss, dpo(chosen, rejected, beta=0.3), rtol=1e-12, atol=0)


def test_infonca_is_at_rest_where_rewards_are_the_scores_in_units_of_alpha() -> None:
    assert_at_rest(infonca, policy=SCORES / 0.5 / 0.3 + 7)


def test_nca_is_at_rest_where_rewards_are_log_of_k_times_the_label() -> None:
    label = (SCORES / 0.5).softmax(0)
    assert_at_rest(nca, policy=(5 * label).log() / 0.3)


def assert_at_rest(loss: object, policy: Tensor) -> None:
    assert callable(loss)
    policy = policy.requires_grad_()
    rows = ReferencedLogps(policy, torch.zeros(5, dtype=torch.float64), torch.ones(5, dtype=torch.long))
    (gradient,) = torch.autograd.grad(loss(rows, SCORES, ONE_PROMPT, beta=0.3, alpha=0.5).sum(), policy)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)


@pytest.mark.skipif("nca_pair" not in LOSSES, reason="there is no loss of that name")
def test_nca_of_two_completions_with_scores_far_apart_is_that_of_pairs() -> None:
    chosen, rejected, lists = pair_of_lists()
    loss = loss_of("nca", lists, {"beta": 0.3, "alpha": 1e-4})
    pairs = loss_of("nca_pair", {"chosen": chosen, "rejected": rejected}, {"beta": 0.3})
    torch.testing.assert_close(loss, pairs, rtol=1e-12, atol=0)


def test_lipo_of_two_completions_is_dpo_times_a_weight() -> None:
    chosen, rejected, lists = pair_of_lists()
    scores = torch.tensor([1.0, 0.5, 1.0, 0.0, 0.0, 0.5], dtype=torch.float64)
    weights = (1 / log(2) - 1 / log(3)) * torch.tensor([2 - 1, 2**0.5 - 1, 2 - 2**0.5], dtype=torch.float64)
    loss = loss_of("lipo_lambda", {**lists, "scores": scores}, {"beta": 0.3})
    torch.testing.assert_close(loss, weights * dpo(chosen, rejected, beta=0.3), rtol=1e-12, atol=0)


def test_lipo_learns_from_every_completion_at_the_start_in_any_order() -> None:
    gradients = []
    for order in (torch.arange(5), torch.tensor([3, 0, 4, 2, 1])):
        rows = referenced([-1.0] * 5, [-1.0] * 5)
        loss = lipo_lambda(rows, SCORES[order], ONE_PROMPT, beta=0.3)
        (gradient,) = torch.autograd.grad(loss.sum(), rows.policy)
        gradients.append(gradient[order.argsort()])
    torch.testing.assert_close(*gradients)
    assert (gradients[0] != 0).all()
    assert gradients[0][0] < 0 < gradients[0][3]


@pytest.mark.parametrize("name", ["infonca", "nca"])
def test_an_alpha_that_is_not_above_zero_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"alpha = 0\.0: must be above 0"):
        Method.named(name, {"alpha": 0.0})


@pytest.mark.parametrize("name", ["infonca", "nca"])
def test_labels_of_scores_of_any_size_are_finite(name: str) -> None:
    arguments = two_lists(torch.float32)
    arguments["scores"] = arguments["scores"] * 1e4
    loss = loss_of(name, arguments, {"alpha": 1e-4})
    loss.sum().backward()
    assert loss.isfinite().all()
    assert arguments["completions"].policy.grad.isfinite().all()
