"""Backends: one module each, functions named after the ops (see ``m2t_fast.ops.registry``)."""
