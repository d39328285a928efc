"""Sweeps: many runs that differ in some settings, the frontier of reward over KL, and a recommendation."""
