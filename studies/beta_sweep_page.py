"""The page of the study of beta: a sweep in the demo's world, and one realigned run."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from preftune.metrics.intervals import Interval
from preftune.sweep.recommendation import interval_text
from preftune.sweep.result import ModelRow, PointRow, Realigned, SweepResult

__all__ = ["page"]

_FORM = "{:z.2f}".format


class Realignment(Protocol):
    """The part of the study's size that the page shows."""

    @property
    def realigned(self) -> float:
        """Beta of the run that was mixed with its reference."""


_INTRODUCTION = """\
# Five betas, and one realigned run

Made by `python -m studies.beta_sweep --output runs/beta-sweep --page docs/beta-sweep.md`.

The world is the demo's: a small Llama writes film reviews, and a known reward labels pairs of its own samples.
`preftune sweep` runs DPO with the demo's settings at five betas, and evaluates each run and three checkpoints of each
on held-out prompts. The value is the true reward of their samples, in nats. KL is to the SFT model, from the same
samples. Intervals are 95 %, by prompt; there is one training seed."""


def page(result: SweepResult, size: Realignment, *, picture: str) -> str:
    """The result as Markdown.

    Args:
        result: Result of the sweep.
        size: Size of the study.
        picture: Path of the frontier's picture, relative to the page.
    """
    blocks = [
        _INTRODUCTION,
        f"![True reward over KL, for all runs, checkpoints and strengths]({picture})",
        "## The runs",
        _runs(result.points),
        f"Reference log-probs computed: {_counts(result.points)}. The total of {result.num_computed:,} covers "
        f"{len(result.points)} runs and {sum(len(row.models) for row in result.points)} evaluations.",
        *_recommendation(result),
    ]
    if result.realigned is not None:
        blocks += _realigned(result, result.realigned, size.realigned)
    return "\n\n".join(blocks) + "\n"


def _runs(points: Sequence[PointRow]) -> str:
    rows = [["run", "steps", "true reward", "KL", "held-out accuracy", "on the frontier", "health"]]
    for row in points:
        for model in row.models:
            is_final = model is row.models[-1]
            accuracy = "" if model.accuracy is None else _percent(model.accuracy)
            rows.append(
                [
                    row.setup if is_final else f"{row.setup}, checkpoint",
                    str(model.step),
                    _text(model.value),
                    _text(model.kl),
                    accuracy,
                    "yes" if model.on_frontier else "",
                    ("; ".join(title for _, title in row.record.health) or "no finding") if is_final else "",
                ]
            )
    return _table(rows)


def _counts(points: Sequence[PointRow]) -> str:
    return ", ".join(f"{row.setup} {row.record.num_computed:,}" for row in points)


def _recommendation(result: SweepResult) -> Iterator[str]:
    found = result.recommendation
    if found is None:
        return
    yield f"**{found.headline}** " + " ".join(found.reasons)
    if found.warnings:
        yield "\n".join(f"- {warning}" for warning in found.warnings)


def _realigned(result: SweepResult, found: Realigned, beta: float) -> Iterator[str]:
    yield "## One realigned run"
    yield (
        f"The run with beta = {beta:g}, mixed with its reference at decoding time (`--strength`), beside the run "
        "trained with beta / strength if there is one."
    )
    trained = {row.setup: row.models[-1] for row in result.points if row.models}
    rows = [["strength", "true reward", "KL", "beta / strength", "trained: true reward", "trained: KL"]]
    for model in found.models:
        other = _nearest(trained, beta / model.strength) if model.strength else None
        meant = f"{beta / model.strength:.3g}" if model.strength else "infinite"
        cells = ["", ""] if other is None else [_text(other.value), _text(other.kl)]
        rows.append([f"{model.strength:g}", _text(model.value), _text(model.kl), meant, *cells])
    yield _table(rows)
    yield (
        "At the optimum of the loss, the mix approximates training with beta / strength token by token. These runs "
        "end before the optimum, at a smaller KL, so compare the curves at equal KL, not row by row."
    )


def _nearest(trained: dict[str, ModelRow], beta: float) -> ModelRow | None:
    """The run with this beta, up to the rounding of strengths."""
    for setup, model in trained.items():
        if abs(float(setup.partition("=")[2]) / beta - 1) < 0.01:
            return model
    return None


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines)


def _text(found: Interval) -> str:
    return interval_text(found, _FORM)


def _percent(found: Interval) -> str:
    return interval_text(found, "{:.1%}".format)
