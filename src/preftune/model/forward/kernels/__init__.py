"""CUDA kernels, checked before they are used."""
