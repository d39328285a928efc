"""A run: from settings to a model folder."""
