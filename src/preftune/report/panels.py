"""Panels of a report: which curves share a picture, and in which order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from preftune.metrics.catalogue import HELD_OUT, METRICS, Metric, find_metric


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric in a picture.

    Args:
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
        """True if only evaluations log it, so that points are few."""
        return self.metric.startswith(HELD_OUT)


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture of metrics over steps.

    Args:
        title: Title with the unit.
        about: One or two sentences on how to read it.
        curves: Metrics in it; those that were not logged are left out.
        level: Height of a horizontal line, such as the value of chance.
        form: Number format of the axis.
    """

    name: str
    title: str
    about: str
    curves: tuple[Curve, ...]
    level: float | None = None
    form: Literal["number", "percent"] = "number"


@dataclass(frozen=True, slots=True)
class _Text:
    title: str
    about: str
    level: float | None = None


_TEXTS: Mapping[str, _Text] = {
    "loss": _Text(
        "Loss, nats", "Training lowers it. A held-out loss that rises while the training loss falls means overfitting."
    ),
    "accuracy": _Text(
        "Preference accuracy",
        "Share of pairs whose chosen answer has the higher implicit reward. The line is chance.",
        level=0.5,
    ),
    "margin": _Text("Reward margin", "Reward of the chosen minus that of the rejected answer.", level=0.0),
    "rewards": _Text(
        "Implicit rewards",
        "If the margin grows because rejected answers fall while chosen ones fall too, probability moves to answers "
        "that are not in the data.",
        level=0.0,
    ),
    "logps": _Text(
        "Log-prob of answers, nats",
        "Under the policy. Noise from step to step comes from the lengths of the answers.",
    ),
    "kl": _Text(
        "KL to the reference, nats",
        "Measured on samples of the model, whole answers: the distance that the policy has moved. Over-optimization "
        "begins at some tens of nats. Bars are two standard errors.",
        level=0.0,
    ),
    "logratios": _Text(
        "Distance from the reference, nats",
        "Mean absolute logratio of the data's answers. It grows with the KL but does not estimate it.",
        level=0.0,
    ),
    "entropy": _Text("Entropy, nats per token", "Uncertainty of the model's next token. A steep fall is a collapse."),
    "length": _Text(
        "Length of samples, tokens",
        "Answers that keep growing often exploit length instead of helping the reader. Bars are two standard errors.",
    ),
    "finished": _Text("Samples that end by themselves", "The others were cut off at the maximum length of a sample."),
    "win_rate": _Text("Win rate by the judge", "Of the model's samples. The line is a tie.", level=0.5),
    "gradient_norm": _Text("Gradient norm", "Before clipping."),
    "learning_rate": _Text("Learning rate", "As scheduled."),
    "speed": _Text("Tokens per second", "Time for evaluating and saving does not count."),
    "memory": _Text("Peak memory, GiB", "On the GPU if there is one, else of the process."),
}
"""Panels in the order in which an expert looks at them. Panels of metrics that are not named here follow."""

_OVERVIEW = ("loss", "rewards", "accuracy", "logps")


def panels_of(logs: Sequence[Mapping[str, Any]]) -> tuple[Panel, ...]:
    """The panels of all logged metrics; a metric without a panel in the catalogue has one of its own.

    >>> [panel.title for panel in panels_of([{"step": 1, "loss": 0.7}, {"step": 1, "eval_politeness": 3.0}])]
    ['Loss, nats', 'politeness']
    """
    logged = {name: None for log in logs for name, value in log.items() if isinstance(value, (int, float))}
    known = (_panel(name) for name in _TEXTS)
    own = (_own_panel(name) for name in dict.fromkeys(name.removeprefix(HELD_OUT) for name in logged))
    panels = (*known, *(panel for panel in own if panel is not None))
    return tuple(panel for panel in panels if any(curve.metric in logged for curve in panel.curves))


def overview_panels(logs: Sequence[Mapping[str, Any]]) -> tuple[Panel, ...]:
    """The panels of a picture of the whole run: loss, rewards, accuracy and log-probs, as far as they were logged."""
    found = {panel.name: panel for panel in panels_of(logs)}
    return tuple(found[name] for name in _OVERVIEW if name in found)


def _panel(name: str) -> Panel:
    members = {key: metric for key, metric in METRICS.items() if metric.panel == name}
    curves = (*_training(members), *_held_out(members))
    text = _TEXTS[name]
    return Panel(name, text.title, text.about, curves, text.level, next(iter(members.values())).form)


def _own_panel(name: str) -> Panel | None:
    metric = find_metric(name) or Metric(label=name)
    if metric.panel != "":
        return None
    file = "".join(letter if letter.isalnum() else "_" for letter in name)
    curves = (*_training({name: metric}), *_held_out({name: metric}))
    about = f"{metric.about[:1].upper()}{metric.about[1:]}." if metric.about else ""
    return Panel(file, metric.title, about, curves, form=metric.form)


def _training(metrics: Mapping[str, Metric]) -> Iterator[Curve]:
    for name, metric in metrics.items():
        if not metric.is_held_out_only:
            yield Curve(name, metric.curve or "training", metric.colour or "blue")


def _held_out(metrics: Mapping[str, Metric]) -> Iterator[Curve]:
    for name, metric in metrics.items():
        is_only = metric.is_held_out_only
        label = metric.curve or ("samples" if is_only else "held out")
        yield Curve(
            HELD_OUT + name,
            f"{label}, held out" if metric.curve and not is_only else label,
            metric.colour or "orange",
        )
