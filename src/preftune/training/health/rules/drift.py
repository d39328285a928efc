"""Rules on the drift of the policy: distance from the reference, collapse, lengths of samples."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from preftune.training.health.history import History
from preftune.training.health.rule import (
    AGAINST_REFERENCE,
    HealthRule,
    RunFacts,
    Symptom,
    TooLittle,
    has_held_out,
)

DISTANCE_LEAST_NATS, DISTANCE_LEAST_NATS_PER_TOKEN = 50.0, 0.5
DISTANCE_NUM_ERRORS = 2.0
"""Standard errors by which the KL of samples must be beyond the threshold: there may be few of them."""


def distance(history: History, run: RunFacts) -> Symptom | TooLittle | None:
    """The KL of samples, or the mean of |logratio| over answers of the data, is large per answer and per token.

    The KL is the better measure, but not every run has it: it needs the reference in memory, to run on the samples. A
    policy that runs away also changes the log-probs of the answers in the data, chosen and rejected.
    """
    distances = [item for item in (_of_samples(history), _of_answers(history, run)) if item is not None]
    if not distances:
        return run.too_few_steps(history)
    found = [symptom for item in distances if (symptom := item.symptom) is not None]
    return max(found, key=lambda symptom: symptom.size, default=None)


@dataclass(frozen=True, slots=True)
class _Distance:
    """A measured distance, in nats per answer and per token."""

    text: str
    nats: float
    per_token: float

    @property
    def symptom(self) -> Symptom | None:
        size = min(self.nats / DISTANCE_LEAST_NATS, self.per_token / DISTANCE_LEAST_NATS_PER_TOKEN)
        return Symptom(f"{self.text}, {self.per_token:.3g} per token", size) if size >= 1 else None


def _of_samples(history: History) -> _Distance | None:
    kl, num_tokens = (history.held_out(f"samples/{name}").after_start for name in ("kl", "num_tokens"))
    if kl is None or num_tokens is None:
        return None
    chance = DISTANCE_NUM_ERRORS * (history.held_out("samples/kl_error").after_start or 0.0)
    text = f"the KL of samples is {kl:.3g} nats ({DISTANCE_NUM_ERRORS:g} standard errors: {chance:.2g})"
    return _Distance(text, kl - chance, (kl - chance) / num_tokens)


def _of_answers(history: History, run: RunFacts) -> _Distance | None:
    names = ("logratios/absolute", "logratios/per_token")
    held_out = [history.held_out(name).last for name in names]
    training = [run.recent(history.training(name)) for name in names]
    nats, per_token = training if None in held_out else held_out
    if nats is None or per_token is None:
        return None
    if None not in held_out and history.held_out(names[0]).after_start is None:
        return None
    where = "answers of the last steps" if None in held_out else "held-out answers"
    return _Distance(f"{where} are {nats:.3g} nats from the reference on average", nats, per_token)


DISTANCE = HealthRule(
    name="distance",
    title="the policy drifts far from its reference",
    sees="the KL of samples, if measured; logratios/absolute and logratios/per_token of held-out answers, "
    "or else of the last steps",
    threshold=f"{DISTANCE_LEAST_NATS:g} nats per answer and {DISTANCE_LEAST_NATS_PER_TOKEN:g} per token; the KL "
    f"by {DISTANCE_NUM_ERRORS:g} standard errors",
    reason="direct alignment over-optimizes beyond some tens of nats of KL (arXiv:2406.02900); long answers get "
    "that far with small changes per token, so the mean per token must be large too",
    severity="sick",
    advice="Lower --learning-rate or --epochs, or raise --beta.",
    needs=AGAINST_REFERENCE,
    applies=lambda run: run.starts_at_reference and run.method.needs_reference,
    check=distance,
)


TWO_EVALUATIONS = TooLittle("an evaluation before the first step and one after it")

COLLAPSE_LEAST_SHARE = 0.25


def collapse(history: History, run: RunFacts) -> Symptom | TooLittle | None:  # noqa: ARG001
    """The entropy per token, on samples or held-out answers, is a small share of that before training.

    A policy that repeats itself is sure of the next token of its own texts, and may be as unsure as before of others;
    so samples count too, if there are any.
    """
    if all(len(history.held_out(name)) < 2 for name in ("samples/entropy", "entropy")):
        return TWO_EVALUATIONS
    found = [_of(history, "samples/entropy", "samples"), _of(history, "entropy", "held-out answers")]
    return max((symptom for symptom in found if symptom is not None), key=lambda symptom: symptom.size, default=None)


def _of(history: History, name: str, texts: str) -> Symptom | None:
    entropy = history.held_out(name)
    if entropy.first is None or entropy.last is None or entropy.last >= COLLAPSE_LEAST_SHARE * entropy.first:
        return None
    text = f"it is {entropy.last:.3g} nats per token of {texts}, and was {entropy.first:.3g}"
    return Symptom(text, COLLAPSE_LEAST_SHARE * entropy.first / max(entropy.last, 1e-9))


COLLAPSE = HealthRule(
    name="collapse",
    title="the policy collapses",
    sees="entropy of the policy's next token, mean over the tokens of samples, and over those of held-out answers",
    threshold=f"below {COLLAPSE_LEAST_SHARE:g} of its value before the first step",
    reason="preference tuning reduces entropy, by a few per cent in the demo; below a quarter the policy repeats "
    "itself on any prompt",
    severity="sick",
    advice="Lower --learning-rate or --epochs, raise --beta, or add SFT: --method 'dpo + 0.2*preferred_ft'.",
    needs="pairs, lists and thumbs with held-out data; not demonstrations, which may be uniform on purpose",
    applies=lambda run: has_held_out(run) and run.method.feedback != "demonstrations",
    check=collapse,
)


LENGTHS_LEAST_RATIO = 2.0
LENGTHS_LEAST_FALL = 0.5
LENGTHS_NUM_ERRORS = 3.0
"""Standard errors by which a difference must be beyond chance: there may be few samples."""


def lengths(history: History, run: RunFacts) -> Symptom | TooLittle | None:
    """The last samples are twice or half as long as those before the first step, or far fewer of them end."""
    if len(history.held_out("samples/num_tokens")) < 2:
        return TWO_EVALUATIONS
    found = [*_length(history), *_ends(history, run)]
    return max(found, key=lambda symptom: symptom.size, default=None)


def _length(history: History) -> Iterator[Symptom]:
    means, errors = history.held_out("samples/num_tokens"), history.held_out("samples/num_tokens_error")
    if None in (means.first, means.last, errors.first, errors.last):
        return
    first, last, chance = means.first or 0.0, means.last or 0.0, math.hypot(errors.first or 0.0, errors.last or 0.0)
    ratio = max(first, last) / max(min(first, last), 1e-9)
    if ratio < LENGTHS_LEAST_RATIO or abs(last - first) < LENGTHS_NUM_ERRORS * chance:
        return
    yield Symptom(f"samples are {last:.3g} tokens long on average, and were {first:.3g}", ratio / LENGTHS_LEAST_RATIO)


def _ends(history: History, run: RunFacts) -> Iterator[Symptom]:
    ends = history.held_out("samples/finished")
    if ends.first is None or ends.last is None or not run.num_samples:
        return
    # The standard error of a difference of two shares is largest if both are a half.
    least = max(LENGTHS_LEAST_FALL, LENGTHS_NUM_ERRORS * math.sqrt(0.5 / run.num_samples))
    fall = ends.first - ends.last
    if fall >= least:
        text = f"{ends.last:.0%} of samples come to an end within the limit, and {ends.first:.0%} did"
        yield Symptom(text, fall / least)


LENGTHS = HealthRule(
    name="lengths",
    title="the length of samples changes",
    sees="samples/num_tokens and samples/finished, against those before the first step",
    threshold=f"{LENGTHS_LEAST_RATIO:g} times as long or short, or {LENGTHS_LEAST_FALL:g} fewer of them that end "
    f"by themselves, and beyond {LENGTHS_NUM_ERRORS:g} standard errors",
    reason="preference tuning lengthens answers by tens of per cent, as chosen ones are longer in most data "
    "(arXiv:2403.19159); if samples are twice as long, or never end, the policy exploits length. "
    "With 8 samples only gross drift is significant; more samples show smaller ones",
    severity="suspect",
    advice="Read samples.jsonl. Try --method rdpo_length or ld_dpo, lower --learning-rate; if samples never "
    "end, check that the answers in the data end with the tokenizer's end-of-sequence token.",
    needs="pairs, lists and thumbs with held-out data, if samples are drawn (--eval-samples); not "
    "demonstrations, which change the length on purpose",
    applies=lambda run: has_held_out(run) and run.num_samples > 1 and run.method.feedback != "demonstrations",
    check=lengths,
)


RULES: tuple[HealthRule, ...] = (
    DISTANCE,
    COLLAPSE,
    LENGTHS,
)
