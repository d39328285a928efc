"""The world of film reviews: prompts, demonstrations and labelled pairs with a known reward."""

import math
import random
import zlib
from dataclasses import dataclass, field

from preftune.demo.reviews.grammar import ReviewGrammar
from preftune.demo.reviews.reward import SentimentReward
from preftune.groups import Completion, Origin, Pair, PromptGroup

_HELD_OUT_ONE_IN = 8


def is_held_out(prompt: str) -> bool:
    """True for about one prompt in eight, which is never trained on. Depends on the text alone, not on a seed.

    >>> is_held_out("Last night I watched a new heist film with my sister at the cinema. The")
    False
    """
    return zlib.crc32(prompt.encode()) % _HELD_OUT_ONE_IN == 0


@dataclass(frozen=True)
class ReviewWorld:
    """Film reviews with a known reward.

    Every draw depends on the seed of the call alone. There are 1.2 million prompts.

    Args:
        reward: The true reward of a text, in nats; 0 divides positive from negative.

    >>> world = ReviewWorld()
    >>> prompt = world.prompts(1, seed=0)[0]
    >>> group = world.label_pair(prompt, " plot was dull.", " plot was good.", random.Random(0))
    >>> group.pairs[0].chosen, round(group.pairs[0].margin, 4)  # log(.34 / .14) - log(.16 / .36)
    (1, 1.6982)
    """

    grammar: ReviewGrammar = field(default_factory=ReviewGrammar)
    reward: SentimentReward = field(default_factory=SentimentReward)

    def demonstrations(self, n: int, seed: int, *, held_out: bool = False) -> list[PromptGroup]:
        """Reviews of the grammar, about half of them positive, for supervised learning.

        Args:
            held_out: Draw held-out prompts if true, all others if false.
        Returns:
            Groups of one completion, with its reward as its score.
        """
        rng = random.Random(f"demonstrations {held_out} {seed}")
        groups: list[PromptGroup] = []
        while len(groups) < n:
            review = self.grammar.sample(rng)
            if is_held_out(review.prompt) == held_out:
                completion = Completion(review.continuation, score=self.reward(review.continuation))
                origin = Origin(f"film reviews, seed {seed}", len(groups) + 1)
                groups.append(PromptGroup(review.prompt, (completion,), (), origin))
        return groups

    def prompts(self, n: int, seed: int, *, held_out: bool = False) -> list[str]:
        """Distinct openings of reviews, for a policy to continue.

        Args:
            held_out: Draw held-out prompts if true, all others if false.
        """
        rng = random.Random(f"prompts {held_out} {seed}")
        prompts: dict[str, None] = {}
        while len(prompts) < n:
            prompt = self.grammar.sample_prompt(rng)
            if is_held_out(prompt) == held_out:
                prompts[prompt] = None
        return list(prompts)

    def label_pair(
        self, prompt: str, a: str, b: str, rng: random.Random, *, temperature: float = 0.0, row: int = 1
    ) -> PromptGroup:
        """Two continuations, labelled by a reader who knows the true reward.

        p(a preferred) = sigmoid((reward(a) - reward(b)) / temperature)

        Args:
            a, b: Continuations. Not empty.
            rng: Source of the reader's noise.
            temperature: Noise of the reader, >= 0. At 0 the higher reward always wins. Unit: nats of reward.
            row: Number of the pair, for its origin.
        Returns:
            The group, with the rewards as scores. The pair's margin is reward(chosen) - reward(rejected), negative
            if the label is noise. No pair if a equals b, or if the rewards are equal at temperature 0.
        Raises:
            ValueError: a temperature below 0.
            DataError: an empty continuation.
        Source: Bradley and Terry 1952; the labels are those of a logistic model with the true reward.
        """
        if not temperature >= 0:
            raise ValueError(f"temperature = {temperature}: the noise of the reader must be at least 0.")
        rewards = (self.reward(a), self.reward(b))
        gap = rewards[0] - rewards[1]
        pairs: tuple[Pair, ...] = ()
        if a != b and (temperature > 0 or gap != 0):
            chosen = 0 if rng.random() < _preference(gap, temperature) else 1
            pairs = (Pair(chosen, 1 - chosen, margin=rewards[chosen] - rewards[1 - chosen]),)
        completions = (Completion(a, score=rewards[0]), Completion(b, score=rewards[1]))
        return PromptGroup(prompt, completions, pairs, Origin("film reviews, pairs", row))


def _preference(gap: float, temperature: float) -> float:
    """The probability that the first of two is preferred, whose reward is higher by `gap`."""
    if temperature == 0:
        return float(gap > 0)
    return 0.5 * (1 + math.tanh(gap / temperature / 2))
