"""Models, adapters, device memory, and the choice of the forward."""
