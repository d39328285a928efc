"""Catalogue of all metrics: names, labels, units, directions, number formats, and places where each is shown."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from preftune.files.number_text import number_text, percent_text
from preftune.losses import Method

SAMPLES_KL = "samples/kl"
REWARD_AT_KL_BUDGET = "reward_at_kl_budget"
HELD_OUT = "eval_"
"""Prefix of a metric on held-out data."""

_ERROR = "_error"
"""Suffix of the standard error of a metric."""

_OF_PARTS = "loss/"
"""Prefix of the loss of one part of a sum of methods."""

_OF_THE_CLOCK = ("runtime", "samples_per_second", "steps_per_second")
"""Times that the trainer measures for training and for each evaluation."""


def _always(_: Method) -> bool:
    return True


def _has_reward(method: Method) -> bool:
    return method.rewarding is not None


def _has_pairs(method: Method) -> bool:
    return _has_reward(method) and method.feedback in ("pairs", "lists")


def _has_preferences(method: Method) -> bool:
    return method.feedback != "demonstrations"


def _has_demonstrations(method: Method) -> bool:
    return method.feedback == "demonstrations"


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One row of the catalogue.

    Args:
        label: Name in prose, without the unit.
        unit: Empty for shares and counts without one.
        about: Definition, as a phrase; empty if the label says it all.
        direction: Direction of improvement. Checkpoints can be chosen by metrics that have one.
        form: Number format in reports.
        source: Completions of the data, samples of the policy, a judge's verdict on these samples, or the run itself.
        is_given: True for methods that log the metric; metrics of samples and judges do not depend on the method.
        console: Format in the progress lines; empty to leave the metric out of them.
        shown: `headline` metrics open a report, `detail` metrics follow in tables. The table at the end of a run holds
            both kinds where they come from data or a judge; `hidden` metrics are in the logs alone.
        has_best: True if the table at the end shows the best held-out value and its step.
        is_comparable: True if runs of different methods or beta can be ranked by it.
        panel: Picture of a report that holds the curve. Empty for a picture of its own, None for no picture.
        curve: Legend entry in a picture of several metrics.
        colour: Colour of the curve; default: blue for training, orange for held-out data.
        is_held_out_only: True if only evaluations log it.
    """

    label: str
    unit: str = ""
    about: str = ""
    direction: Literal["higher", "lower", "none"] = "none"
    form: Literal["number", "percent"] = "number"
    source: Literal["data", "samples", "judge", "run"] = "data"
    is_given: Callable[[Method], bool] = _always
    console: str = ""
    shown: Literal["headline", "detail", "hidden"] = "hidden"
    has_best: bool = False
    is_comparable: bool = False
    panel: str | None = ""
    curve: str = ""
    colour: str | None = None
    is_held_out_only: bool = False

    @property
    def title(self) -> str:
        """Label with its unit.

        >>> METRICS["samples/kl"].title, METRICS["win_rate"].title
        ('KL to the reference, nats', 'win rate by the judge')
        """
        return f"{self.label}, {self.unit}" if self.unit else self.label

    @property
    def is_of_samples(self) -> bool:
        """True if the metric describes samples of the policy, not completions of the data."""
        return self.source in ("samples", "judge")

    @property
    def is_at_end(self) -> bool:
        """True if the table at the end of a run and `summary.json` hold the metric."""
        return self.shown != "hidden" and self.source in ("data", "judge")

    def text(self, value: float | None) -> str:
        """A value in the metric's number format; empty for None.

        >>> METRICS["rewards/accuracies"].text(0.65), METRICS["loss"].text(0.6931), METRICS["loss"].text(-1e-9)
        ('65.0 %', '0.6931', '0')
        >>> METRICS["rewards/margins"].text(0.0060234)
        '0.006'
        """
        if value is None:
            return ""
        if not math.isfinite(value):
            return number_text(value)
        if self.form == "percent":
            return percent_text(value)
        if abs(value) < 1e-6:
            return "0"
        return number_text(round(float(value), 4) if abs(value) >= 1e-3 else float(f"{value:.2g}"))


METRICS: Mapping[str, Metric] = {
    "loss": Metric(
        label="loss",
        unit="nats",
        direction="lower",
        console="loss {:.4f}",
        shown="headline",
        has_best=True,
        panel="loss",
    ),
    "rewards/accuracies": Metric(
        label="preference accuracy",
        about="share of pairs whose chosen completion has the higher implicit reward",
        direction="higher",
        form="percent",
        is_given=_has_pairs,
        console="accuracy {:.3f}",
        shown="headline",
        has_best=True,
        is_comparable=True,
        panel="accuracy",
    ),
    "rewards/margins": Metric(
        label="reward margin",
        about="implicit reward of the chosen minus that of the rejected completion",
        direction="higher",
        is_given=_has_reward,
        console="margin {:+z.4f}",
        shown="headline",
        has_best=True,
        panel="margin",
    ),
    "rewards/chosen": Metric(
        label="reward of chosen completions",
        direction="higher",
        is_given=_has_reward,
        shown="detail",
        panel="rewards",
        curve="chosen",
        colour="blue",
    ),
    "rewards/rejected": Metric(
        label="reward of rejected completions",
        is_given=_has_reward,
        shown="detail",
        panel="rewards",
        curve="rejected",
        colour="red",
    ),
    "logps/chosen": Metric(
        label="log-prob of chosen completions",
        unit="nats",
        direction="higher",
        is_given=_has_preferences,
        console="chosen {:.1f}",
        shown="detail",
        panel="logps",
        curve="chosen",
        colour="blue",
    ),
    "logps/rejected": Metric(
        label="log-prob of rejected completions",
        unit="nats",
        is_given=_has_preferences,
        console="rejected {:.1f}",
        shown="detail",
        panel="logps",
        curve="rejected",
        colour="red",
    ),
    "logps/completions": Metric(
        label="log-prob of completions",
        unit="nats",
        direction="higher",
        is_given=_has_demonstrations,
        console="logps {:.1f}",
        shown="detail",
        panel="logps",
    ),
    "win_rate": Metric(
        label="win rate by the judge",
        about="mean points of the samples: 1 for a win, 0.5 for a tie, 0 for a loss",
        direction="higher",
        form="percent",
        source="judge",
        console="win rate {:.3f}",
        shown="headline",
        has_best=True,
        is_comparable=True,
        panel="win_rate",
        is_held_out_only=True,
    ),
    "reward": Metric(
        label="score by the judge",
        about="mean score that the judge gives the samples",
        direction="higher",
        source="judge",
        console="score {:.3f}",
        shown="headline",
        has_best=True,
        is_comparable=True,
        is_held_out_only=True,
    ),
    "num_judged": Metric(
        label="samples with a verdict of the judge", source="judge", panel=None, is_held_out_only=True
    ),
    REWARD_AT_KL_BUDGET: Metric(
        label="score by the judge within the KL budget",
        about="`reward` if the KL of the samples is within the budget, else minus infinity",
        direction="higher",
        source="judge",
        is_held_out_only=True,
    ),
    SAMPLES_KL: Metric(
        label="KL to the reference",
        unit="nats",
        about="KL(policy, reference) of whole completions, estimated from samples of the policy",
        source="samples",
        shown="headline",
        panel="kl",
        is_held_out_only=True,
    ),
    "samples/entropy": Metric(
        label="entropy of samples",
        unit="nats per token",
        about="entropy of the policy's next-token distribution, averaged over the tokens of samples",
        source="samples",
        shown="headline",
        panel="entropy",
        curve="at its own samples",
        colour="purple",
        is_held_out_only=True,
    ),
    "samples/num_tokens": Metric(
        label="length of samples",
        unit="tokens",
        about="mean number of tokens, the end-of-sequence token included",
        source="samples",
        shown="headline",
        panel="length",
        is_held_out_only=True,
    ),
    "samples/finished": Metric(
        label="samples that end by themselves",
        about="share of samples that end within `--eval-sample-tokens`",
        form="percent",
        source="samples",
        panel="finished",
        is_held_out_only=True,
    ),
    "entropy": Metric(
        label="entropy",
        unit="nats per token",
        about="entropy of the policy's next-token distribution, averaged over the tokens of held-out completions",
        panel="entropy",
        curve="at held-out completions",
        colour="orange",
        is_held_out_only=True,
    ),
    "logratios/absolute": Metric(
        label="distance from the reference",
        unit="nats",
        about="absolute logratio of a completion, averaged over the data's completions",
        panel="logratios",
    ),
    "logratios/per_token": Metric(
        label="distance from the reference per token",
        unit="nats per token",
        about="absolute logratio of a completion over its number of tokens",
        panel=None,
    ),
    "rewards/rejected_share": Metric(
        label="share of the margin from rejected completions",
        about="fall of the rejected reward over that fall plus the rise of the chosen one; 1 if the chosen reward did "
        "not rise",
        form="percent",
        is_given=_has_reward,
        panel=None,
    ),
    "rewards/length_correlation": Metric(
        label="correlation of margin and length difference",
        about="correlation of margins with differences of length, through the origin, since it does not matter which "
        "completion is called chosen; 1 if the longer completion has the higher reward, in proportion",
        is_given=_has_pairs,
        panel=None,
    ),
    "rewards/calibration_error": Metric(
        label="expected calibration error",
        about="distance of sigmoid(|margin|) from the share of correct pairs, averaged over ten bins of it",
        form="percent",
        is_given=lambda method: method.needs("rewards"),
        shown="detail",
        panel=None,
        is_held_out_only=True,
    ),
    "grad_norm": Metric(
        label="gradient norm",
        about="norm before clipping",
        source="run",
        console="grad {:.3f}",
        panel="gradient_norm",
    ),
    "learning_rate": Metric(label="learning rate", source="run", console="lr {:.1e}", panel="learning_rate"),
    "tokens_per_second": Metric(
        label="tokens per second",
        about="training speed without evaluating and saving",
        source="run",
        console="{:,.0f} tok/s",
        panel="speed",
    ),
    "peak_memory_gib": Metric(
        label="peak memory",
        unit="GiB",
        about="most memory allocated on the GPU, or resident in the process without a GPU",
        source="run",
        panel="memory",
    ),
    "num_tokens": Metric(label="tokens learned from so far", source="run", panel=None),
    "epoch": Metric(label="epochs done", source="run", panel=None),
    "step": Metric(label="optimizer steps taken", source="run", panel=None),
    "total_flos": Metric(label="floating-point operations, as the trainer counts them", source="run", panel=None),
    "train_loss": Metric(label="training loss averaged over the run", unit="nats", source="run", panel=None),
    **{name: Metric(label=name.replace("_", " "), source="run", panel=None) for name in _OF_THE_CLOCK},
}
"""All metrics by name, in the order in which tables and pictures show them. A new metric is one row."""


def find_metric(name: str) -> Metric | None:
    """The row of a logged name: without the prefix of its data, of a standard error, or of a part's loss.

    Returns:
        None for a metric that the catalogue does not know, such as a user's own measure.

    >>> find_metric("eval_rewards/margins").label, find_metric("loss/ipo").title, find_metric("politeness")
    ('reward margin', 'loss of ipo, nats', None)
    >>> find_metric("eval_samples/kl_error").panel is None  # drawn as bars of the metric itself
    True
    """
    stem = name.removeprefix(HELD_OUT)
    if stem in METRICS:
        return METRICS[stem]
    if stem.startswith(_OF_PARTS):
        part = stem.removeprefix(_OF_PARTS)
        return Metric(label=f"loss of {part}", unit="nats", direction="lower")
    if stem.endswith(_ERROR) and (metric := METRICS.get(stem.removesuffix(_ERROR))) is not None:
        return replace(metric, label=f"standard error of {metric.label}", shown="hidden", panel=None, has_best=False)
    return METRICS.get(stem.removeprefix("train_"))


def metric_text(name: str, value: float | None) -> str:
    """A value of a logged metric in its number format; unknown metrics are plain numbers.

    >>> metric_text("eval_win_rate", 0.5), metric_text("politeness", 0.5)
    ('50.0 %', '0.5')
    """
    return (find_metric(name) or Metric(label=name)).text(value)


def best_metrics(method: Method, *, has_judge: bool) -> Iterator[str]:
    """Metrics of a method by which its best checkpoint can be chosen, with those of a judge if there is one.

    >>> list(best_metrics(Method.named("kto"), has_judge=False))
    ['loss', 'rewards/margins', 'rewards/chosen', 'logps/chosen']
    """
    for name, metric in METRICS.items():
        if metric.direction != "none" and (has_judge if metric.source == "judge" else metric.is_given(method)):
            yield name
