"""Loading of models and adapters, device memory, choice of the forward."""
