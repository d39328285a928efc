"""The training curves of a run, as a picture."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["draw_curves"]

Log = Mapping[str, Any]

_PANELS: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("loss (nats)", {"loss": "training", "eval_loss": "held out"}),
    ("implicit reward", {"rewards/chosen": "chosen", "rewards/rejected": "rejected", "rewards/margins": "margin"}),
    ("reward accuracy", {"rewards/accuracies": "training", "eval_rewards/accuracies": "held out"}),
    ("log-prob (nats)", {"logps/chosen": "chosen", "logps/rejected": "rejected", "logps/completions": "completions"}),
)
"""Title of a panel, and the metrics in it with their labels."""


def draw_curves(run: str | Path, picture: str | Path) -> None:
    """Draw the metrics that a run has logged into a PNG, SVG or PDF file. Panels without a metric are left out.

    Args:
        run: Folder of the run.
        picture: The file to write; its ending says the kind.
    Raises:
        FileNotFoundError: the folder holds no `metrics.jsonl`.
    """
    lines = (Path(run) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    logs = [json.loads(line) for line in lines]
    panels = [panel for panel in _PANELS if any(name in log for log in logs for name in panel[1])]
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(3.4 * len(panels), 2.9), layout="constrained")
        for column, (title, metrics) in enumerate(panels, start=1):
            _draw_panel(figure.add_subplot(1, len(panels), column), title, metrics, logs)
        figure.savefig(picture, dpi=150)


def _draw_panel(axes: Axes, title: str, metrics: Mapping[str, str], logs: Sequence[Log]) -> None:
    for name, label in metrics.items():
        points = [(log["step"], log[name]) for log in logs if name in log]
        if points:
            marker = "o" if name.startswith("eval_") else ""
            axes.plot(*zip(*points, strict=True), label=label, marker=marker, markersize=4, linewidth=1.4)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("step")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
