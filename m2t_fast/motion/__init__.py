"""Motions of any origin: joint files, feature vectors, .bvh; frame rates, units, axes and joint names."""

from m2t_fast.motion.bvh import Bvh, read_bvh
from m2t_fast.motion.features import recover_joints
from m2t_fast.motion.joint_maps import map_joints, read_joint_map
from m2t_fast.motion.joint_names import JOINT_NAMES
from m2t_fast.motion.kinds import SUFFIXES, motion_files
from m2t_fast.motion.options import UNITS, MotionOptions
from m2t_fast.motion.placement import place
from m2t_fast.motion.read import Motion, read_capture, read_motion, read_motions, read_vector, units_of
from m2t_fast.motion.resample import resample

__all__ = [
    "JOINT_NAMES",
    "SUFFIXES",
    "UNITS",
    "Bvh",
    "Motion",
    "MotionOptions",
    "map_joints",
    "motion_files",
    "place",
    "read_bvh",
    "read_capture",
    "read_joint_map",
    "read_motion",
    "read_motions",
    "read_vector",
    "recover_joints",
    "resample",
    "units_of",
]
