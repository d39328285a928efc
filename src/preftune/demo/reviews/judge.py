"""The reader of the demo as a judge: `preftune eval --judge python:preftune.demo.reviews.judge:true_reward`."""

from preftune.demo.reviews.reward import SentimentReward
from preftune.groups import Text

__all__ = ["true_reward"]

_REWARD = SentimentReward()


def true_reward(prompt: Text, completion: str) -> float:  # noqa: ARG001
    """What the completion is truly worth. The prompt, which judges nothing, does not count. Unit: nats.

    >>> round(true_reward("The", " plot was good."), 4)  # log(.34 / .14)
    0.8873
    """
    return _REWARD(completion)
