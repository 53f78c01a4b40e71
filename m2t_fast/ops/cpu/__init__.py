"""Launchers of the C++ kernels, one module for each op."""
