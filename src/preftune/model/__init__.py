"""Models: loading, the packed forward, reference log-probs, generation."""
