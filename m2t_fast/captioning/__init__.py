"""Captions of any number of motion files: streamed, resumed, and shared by several processes."""

from m2t_fast.captioning.job import CaptionJob, Summary, caption_files

__all__ = ["CaptionJob", "Summary", "caption_files"]
