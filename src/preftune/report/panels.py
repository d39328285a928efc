"""Which curves a report shows, and in which picture."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from preftune.report.logs import Log

__all__ = ["PANELS", "Curve", "Panel", "panels_of"]


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric in a picture.

    Args:
        metric: Its name in the logs; held-out ones begin with `eval_`.
        label: Its name in the legend.
        colour: A key of `COLOURS`.
    """

    metric: str
    label: str
    colour: str

    @property
    def error_metric(self) -> str:
        """The metric that holds its standard error, where one is logged."""
        return f"{self.metric}_error"

    @property
    def is_held_out(self) -> bool:
        """Whether it is measured at evaluations, so that points are few."""
        return self.metric.startswith("eval_")


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture of metrics over steps.

    Args:
        name: Of its files.
        title: Above it, with the unit.
        about: What it says, in a sentence or two.
        curves: Those that were not logged are left out.
        level: Where to draw a line, such as at what chance would give.
        form: How numbers of the axis are written.
    """

    name: str
    title: str
    about: str
    curves: tuple[Curve, ...]
    level: float | None = None
    form: Literal["number", "percent"] = "number"


def _both(metric: str) -> tuple[Curve, Curve]:
    return Curve(metric, "training", "blue"), Curve(f"eval_{metric}", "held out", "orange")


def _sides(stem: str) -> tuple[Curve, ...]:
    sides = (("chosen", "blue"), ("rejected", "red"))
    training = tuple(Curve(f"{stem}/{side}", side, colour) for side, colour in sides)
    return training + tuple(Curve(f"eval_{stem}/{side}", f"{side}, held out", colour) for side, colour in sides)


PANELS: tuple[Panel, ...] = (
    Panel(
        "loss",
        "Loss, nats",
        "What training lowers. A held-out loss that turns up while the other falls: learned by heart.",
        _both("loss"),
    ),
    Panel(
        "accuracy",
        "Preference accuracy",
        "Share of pairs whose chosen answer has the higher implicit reward. The line is chance.",
        _both("rewards/accuracies"),
        level=0.5,
        form="percent",
    ),
    Panel(
        "margin",
        "Reward margin",
        "Reward of the chosen minus that of the rejected answer.",
        _both("rewards/margins"),
        level=0.0,
    ),
    Panel(
        "rewards",
        "Implicit rewards",
        "A margin that comes from rejected answers falling, while chosen ones fall too, moves probability to answers "
        "that nobody judged.",
        _sides("rewards"),
        level=0.0,
    ),
    Panel(
        "logps",
        "Log-prob of answers, nats",
        "Under the model in training. Noise from step to step is that of the lengths of answers.",
        (*_sides("logps"), *_both("logps/completions")),
    ),
    Panel(
        "kl",
        "KL to the reference, nats",
        "Of samples of the model, whole answers: how far it has moved. Over-optimization begins at some tens of nats. "
        "Bars are two standard errors.",
        (Curve("eval_samples/kl", "samples", "orange"),),
        level=0.0,
    ),
    Panel(
        "logratios",
        "Distance from the reference, nats",
        "Mean absolute log-ratio of the data's answers. It grows with the KL, and is no estimate of it.",
        _both("logratios/absolute"),
        level=0.0,
    ),
    Panel(
        "entropy",
        "Entropy, nats per token",
        "How open the model's next token is. A steep fall is a collapse.",
        (
            Curve("eval_entropy", "at held-out answers", "orange"),
            Curve("eval_samples/entropy", "at its own samples", "purple"),
        ),
    ),
    Panel(
        "length",
        "Length of samples, tokens",
        "Answers that grow without end often serve length, not the reader. Bars are two standard errors.",
        (Curve("eval_samples/num_tokens", "samples", "orange"),),
    ),
    Panel(
        "finished",
        "Samples that end by themselves",
        "The rest was cut off at the longest length that is drawn.",
        (Curve("eval_samples/finished", "samples", "orange"),),
        form="percent",
    ),
    Panel(
        "win_rate",
        "Win rate by the judge",
        "Of the model's samples. The line is a tie.",
        (Curve("eval_win_rate", "samples", "orange"),),
        level=0.5,
        form="percent",
    ),
    Panel("gradient_norm", "Gradient norm", "Before it is clipped.", (Curve("grad_norm", "training", "blue"),)),
    Panel("learning_rate", "Learning rate", "As scheduled.", (Curve("learning_rate", "training", "blue"),)),
    Panel(
        "speed",
        "Tokens per second",
        "Evaluating and saving do not count as time.",
        (Curve("tokens_per_second", "training", "blue"),),
    ),
    Panel(
        "memory",
        "Peak memory, GiB",
        "On the GPU if there is one, else of the process.",
        (Curve("peak_memory_gib", "training", "blue"),),
    ),
)
"""In the order in which an expert looks."""

_NO_PANEL = frozenset(
    {
        *("step", "epoch", "num_tokens", "total_flos", "train_loss"),
        *("rewards/rejected_share", "rewards/length_correlation", "logratios/per_token"),
    }
)
_NOT_SHOWN = ("runtime", "samples_per_second", "steps_per_second", "_error")


def panels_of(logs: Sequence[Log]) -> tuple[Panel, ...]:
    """The panels of which something was logged, and one for each measure that has none of its own.

    >>> [panel.title for panel in panels_of([{"step": 1, "loss": 0.7}, {"step": 1, "eval_politeness": 3.0}])]
    ['Loss, nats', 'politeness']
    """
    logged = {name: None for log in logs for name, value in log.items() if isinstance(value, (int, float))}
    known = tuple(panel for panel in PANELS if any(curve.metric in logged for curve in panel.curves))
    return (*known, *_of_other_measures(logged))


def _of_other_measures(logged: Mapping[str, None]) -> Iterator[Panel]:
    shown = {curve.metric.removeprefix("eval_") for panel in PANELS for curve in panel.curves} | _NO_PANEL
    names = dict.fromkeys(name.removeprefix("eval_") for name in logged)
    for name in names:
        if name not in shown and not name.endswith(_NOT_SHOWN):
            file = "".join(letter if letter.isalnum() else "_" for letter in name)
            yield Panel(file, name, "", _both(name))
