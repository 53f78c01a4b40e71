"""Long takes as segments with captions: dense motion captioning by captioning every window."""

from m2t_fast.segmentation.fitting import fit_after_training, fit_segmenter
from m2t_fast.segmentation.segmenter import Segmenter
from m2t_fast.segmentation.segments import Segment, segment_joints, segmenter_of
from m2t_fast.segmentation.windows import Grid

__all__ = ["Grid", "Segment", "Segmenter", "fit_after_training", "fit_segmenter", "segment_joints", "segmenter_of"]
