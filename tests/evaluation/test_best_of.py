import numpy as np
import pytest
import torch

from preftune.evaluation.best_of import best_samples, kl_of_best, rate_best
from preftune.metrics.intervals import Bootstrap
from preftune.model.generation.completions import Generation
from studies.enumerable import World, kl_divergence
from tests.evaluation.table_model import draw_prompts, draw_samples


def generation(*ids: int) -> Generation:
    return Generation(np.array([1], dtype=np.int32), np.array(ids, dtype=np.int32), str(ids), True)


def test_the_sample_with_the_highest_reward_is_taken() -> None:
    drawn = [[generation(1), generation(2), generation(3)], [generation(4), generation(5, 5)]]
    best, rewards = best_samples(drawn, torch.tensor([0.1, 0.7, 0.3, -2.0, -1.0]))
    assert [sample.text for sample in best] == ["(2,)", "(5, 5)"]
    assert rewards == pytest.approx([0.7, -1.0])
    found = rate_best(
        list(zip(best, rewards, strict=True)),
        [(generation(1), 0.5), (generation(1, 1, 1), 0.0)],
        num_samples=3,
        source="policy",
        win_rate=None,
        bootstrap=Bootstrap(num_resamples=20),
    )
    assert (found.reward.value, found.plain_reward.value) == pytest.approx((-0.15, 0.25))
    assert (found.length.value, found.plain_length.value) == (1.5, 2.0)


@pytest.mark.parametrize("num_samples", [2, 5])
def test_its_distribution_is_that_of_the_world(num_samples: int) -> None:
    """By enumeration: best of N has a completion with probability F^N - (F without it)^N, F over rewards."""
    world = World.drawn(num_prompts=2, num_completions=5, seed=3)
    order = world.rewards.argsort(1)
    below = world.reference.exp().gather(1, order).cumsum(1)
    shifted = torch.cat([torch.zeros(2, 1, dtype=below.dtype), below[:, :-1]], dim=1)
    best = torch.zeros_like(world.reference).scatter(1, order, below**num_samples - shifted**num_samples)
    kinds = draw_prompts(world, 4000, seed=0)
    drawn = draw_samples(world.reference, kinds, num_samples, seed=1)
    rewards = [
        float(world.rewards[kind, int(sample.text)]) for kind, own in zip(kinds, drawn, strict=True) for sample in own
    ]
    _, found = best_samples(drawn, torch.tensor(rewards))
    exact = float((best * world.rewards).sum(1)[list(kinds)].mean())
    assert np.mean(found) == pytest.approx(exact, abs=4 * np.std(found) / np.sqrt(len(found)))
    assert kl_divergence(best.log(), world.reference) <= kl_of_best(num_samples)
