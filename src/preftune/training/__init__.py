"""Training: the objective, the steps and the trainer."""
