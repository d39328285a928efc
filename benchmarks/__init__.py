"""Measurements, not part of the package: `python -m benchmarks` runs them."""
