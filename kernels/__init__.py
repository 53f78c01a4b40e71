"""GPU kernels written in Python, installed as `m2t_fast.kernels`.

They live in a top-level folder beside `csrc/`, so that all code that runs on a device is found in one of two places.
A module here is imported only by the backend that runs it: never by the reference implementation, and never on a
machine where that backend cannot run.
"""
