import pytest
import torch

from preftune.losses import Method, PolicyLogps, ReferencedLogps, Reward
from preftune.metrics.implicit_reward import ImplicitReward

LOGPS = ReferencedLogps(torch.tensor([-6.0, -9.0]), torch.tensor([-8.0, -8.0]), torch.tensor([2, 4]))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("logratio", [2.0, -1.0]), ("mean_logratio", [1.0, -0.25]), ("logp", [-6.0, -9.0]), ("mean_logp", [-3.0, -2.25])],
)
def test_each_kind_is_what_its_name_says(kind: Reward, expected: list[float]) -> None:
    assert ImplicitReward(kind, 1.0).of(LOGPS).tolist() == expected
    assert ImplicitReward(kind, 0.5).of(LOGPS).tolist() == [value / 2 for value in expected]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("dpo", ImplicitReward("logratio", 0.1)),
        ("ipo", ImplicitReward("logratio", 0.1)),
        ("simpo", ImplicitReward("mean_logp", 2.0)),
        ("0.5*dpo + preferred_ft", ImplicitReward("logratio", 0.1)),
        ("sft", None),
    ],
)
def test_a_method_has_its_own_reward(method: str, expected: ImplicitReward | None) -> None:
    assert ImplicitReward.of_method(Method.named(method)) == expected


def test_another_beta_takes_the_place_of_the_methods() -> None:
    assert ImplicitReward.of_method(Method.named("dpo"), 0.7) == ImplicitReward("logratio", 0.7)


def test_a_reward_against_a_reference_needs_one() -> None:
    alone = PolicyLogps(LOGPS.policy, LOGPS.num_tokens)
    assert ImplicitReward("logp", 1.0).of(alone).tolist() == [-6.0, -9.0]
    with pytest.raises(ValueError, match="is a mean_logratio, which needs a reference"):
        ImplicitReward("mean_logratio", 1.0).of(alone)
