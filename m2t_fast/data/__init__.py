"""Data: reading, preprocessing, vocabulary, supervision targets and batches."""

from m2t_fast.data.batches import Batch, MotionBatch, batch_count, batch_of, motion_batches, training_batches
from m2t_fast.data.buckets import Bucket, PlannedBatch, choose_buckets, epoch_plan
from m2t_fast.data.dataset import MotionDataset, Prepared, prepare
from m2t_fast.data.describe import describe, format_description
from m2t_fast.data.folder import read_captions, read_folder, read_motion
from m2t_fast.data.loading import load_data
from m2t_fast.data.preprocessing import DataSettings, Statistics, downsample
from m2t_fast.data.ragged import pad_ragged
from m2t_fast.data.raw import Caption, RawData, RawMotion, Segment
from m2t_fast.data.resident import ResidentSplit
from m2t_fast.data.supervision import targets
from m2t_fast.data.text import tokenise
from m2t_fast.data.vocabulary import Vocabulary

__all__ = [
    "Batch",
    "Bucket",
    "Caption",
    "DataSettings",
    "MotionBatch",
    "MotionDataset",
    "PlannedBatch",
    "Prepared",
    "RawData",
    "RawMotion",
    "ResidentSplit",
    "Segment",
    "Statistics",
    "Vocabulary",
    "batch_count",
    "batch_of",
    "choose_buckets",
    "describe",
    "downsample",
    "epoch_plan",
    "format_description",
    "load_data",
    "motion_batches",
    "pad_ragged",
    "prepare",
    "read_captions",
    "read_folder",
    "read_motion",
    "targets",
    "tokenise",
    "training_batches",
]
