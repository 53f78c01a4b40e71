"""Launchers of the CUDA kernels, one module for each op."""
