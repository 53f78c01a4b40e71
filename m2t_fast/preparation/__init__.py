"""Data folders from your own captures: captions by hand, splits, pieces, mirrored motions."""

from m2t_fast.preparation.captions import CaptionRow, read_caption_rows, rows_of
from m2t_fast.preparation.captures import Prepared, prepare_captures
from m2t_fast.preparation.folder import write_folder
from m2t_fast.preparation.mirror import mirror_caption, mirror_joints, mirror_motion
from m2t_fast.preparation.splits import SHARES, assign_splits

__all__ = [
    "SHARES",
    "CaptionRow",
    "Prepared",
    "assign_splits",
    "mirror_caption",
    "mirror_joints",
    "mirror_motion",
    "prepare_captures",
    "read_caption_rows",
    "rows_of",
    "write_folder",
]
