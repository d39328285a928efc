"""Log-probs and their kin from hidden states, without logits in full."""
