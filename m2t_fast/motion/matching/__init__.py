"""Finds the joints of a body in the hierarchy of any capture, by structure and by names."""

from m2t_fast.motion.matching.match import JointMatch, match_joints

__all__ = ["JointMatch", "match_joints"]
