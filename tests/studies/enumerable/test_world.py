import pytest
import torch

from studies.enumerable import World, expected_reward, kl_divergence, total_variation


def test_the_same_seed_gives_the_same_world_and_does_not_touch_the_generator() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (World.drawn(seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.rewards, again.rewards)
    assert not torch.equal(first.rewards, other.rewards)
    assert first.reference.shape == (3, 8)
    assert first.reference.dtype == torch.float64


def test_no_policy_near_the_optimum_does_better() -> None:
    world = World.drawn()

    def objective(policy: torch.Tensor) -> float:
        return expected_reward(policy, world) - world.beta * kl_divergence(policy, world.reference)

    best = objective(world.optimum)
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        noise = torch.randn(world.optimum.shape, generator=generator, dtype=torch.float64)
        assert objective((world.optimum + 0.1 * noise).log_softmax(-1)) < best


def test_the_value_of_the_optimum_is_the_log_of_the_partition_function() -> None:
    world = World.drawn()
    value = expected_reward(world.optimum, world) - world.beta * kl_divergence(world.optimum, world.reference)
    log_z = (world.reference + world.rewards / world.beta).logsumexp(-1).mean()
    assert value == pytest.approx(world.beta * float(log_z), rel=1e-12)


def test_policies_without_anything_in_common_are_at_distance_one() -> None:
    one, other = (torch.tensor([[share, 1 - share]], dtype=torch.float64).log() for share in (1.0, 0.0))
    assert total_variation(one, other) == 1
    assert total_variation(one, one) == 0
