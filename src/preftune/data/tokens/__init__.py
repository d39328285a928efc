"""Prompt groups to token ids."""
