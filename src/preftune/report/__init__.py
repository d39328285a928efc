"""Pictures of a run."""

from preftune.report.curves import draw_curves

__all__ = ["draw_curves"]
