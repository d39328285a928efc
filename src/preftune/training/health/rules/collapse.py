"""The policy collapses: hardly any entropy is left."""

from preftune.training.health.history import History
from preftune.training.health.rule import RunFacts, Symptom

__all__ = ["LEAST_SHARE", "collapse"]

LEAST_SHARE = 0.25


def collapse(history: History, run: RunFacts) -> Symptom | None:  # noqa: ARG001
    """The entropy per token, on samples or held-out answers, is a small share of what it was before training.

    A policy that repeats itself is sure of the next token of its own texts, and may be as unsure as ever of those of
    others; so the samples are asked as well, where there are any.
    """
    found = [_of(history, "samples/entropy", "samples"), _of(history, "entropy", "held-out answers")]
    return max((symptom for symptom in found if symptom is not None), key=lambda symptom: symptom.size, default=None)


def _of(history: History, name: str, texts: str) -> Symptom | None:
    entropy = history.held_out(name)
    if entropy.first is None or entropy.last is None or entropy.last >= LEAST_SHARE * entropy.first:
        return None
    text = f"it is {entropy.last:.3g} nats per token of {texts}, and was {entropy.first:.3g}"
    return Symptom(text, LEAST_SHARE * entropy.first / max(entropy.last, 1e-9))
