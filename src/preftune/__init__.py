"""preftune: preference tuning for language models, with plain supervised training."""

__version__ = "0.1.0"
