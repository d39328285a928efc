"""The policy runs away from its reference."""

from collections.abc import Iterator

from preftune.training.health.history import History
from preftune.training.health.rule import RunFacts, Symptom

__all__ = ["LEAST_NATS", "LEAST_NATS_PER_TOKEN", "NUM_ERRORS", "distance"]

LEAST_NATS, LEAST_NATS_PER_TOKEN = 50.0, 0.5
NUM_ERRORS = 2.0
"""Standard errors by which the KL of samples must be beyond the threshold: there may be few of them."""


def distance(history: History, run: RunFacts) -> Symptom | None:
    """By answer and by token, the KL of samples is large, or the mean of |logratio| over answers of the data.

    The KL is what counts, but it is not measured in every run: the reference, which has left memory, must be run on
    the samples. A policy that runs away gives other log-probs to the answers of the data as well, chosen or rejected.
    """
    found = [*_of_samples(history), *_of_answers(history, run)]
    return max(found, key=lambda symptom: symptom.size, default=None)


def _of_samples(history: History) -> Iterator[Symptom]:
    kl, error, num_tokens = (history.held_out(f"samples/{name}").last for name in ("kl", "kl_error", "num_tokens"))
    if kl is None or num_tokens is None:
        return
    least = kl - NUM_ERRORS * (error or 0.0)
    text = f"the KL of samples is {kl:.3g} nats ({NUM_ERRORS:g} standard errors: {NUM_ERRORS * (error or 0.0):.2g})"
    yield from _symptom(text, least, least / num_tokens)


def _of_answers(history: History, run: RunFacts) -> Iterator[Symptom]:
    names = ("logratios/absolute", "logratios/per_token")
    held_out = [history.held_out(name).last for name in names]
    training = [run.recent(history.training(name)) for name in names]
    nats, per_token = training if None in held_out else held_out
    if nats is None or per_token is None:
        return
    where = "answers of the last steps" if None in held_out else "held-out answers"
    yield from _symptom(f"{where} are {nats:.3g} nats from the reference on average", nats, per_token)


def _symptom(text: str, nats: float, per_token: float) -> Iterator[Symptom]:
    if nats >= LEAST_NATS and per_token >= LEAST_NATS_PER_TOKEN:
        size = min(nats / LEAST_NATS, per_token / LEAST_NATS_PER_TOKEN)
        yield Symptom(f"{text}, {per_token:.3g} per token", size)
