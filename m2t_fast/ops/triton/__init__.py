"""Launchers of the Triton kernels, one module for each op; imported only where the kernels can run."""
