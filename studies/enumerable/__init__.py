"""A world so small that all of it can be listed: where each method ends when nothing is sampled and nothing is cut."""

from studies.enumerable.compare import Outcome, method_in, outcomes
from studies.enumerable.fit import fit
from studies.enumerable.page import page
from studies.enumerable.world import World, expected_reward, kl_divergence, total_variation

__all__ = [
    "Outcome",
    "World",
    "expected_reward",
    "fit",
    "kl_divergence",
    "method_in",
    "outcomes",
    "page",
    "total_variation",
]
