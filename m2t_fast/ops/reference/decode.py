"""``search`` and ``sample_words``: the searches of ``m2t_fast.ops.decoding``, word by word."""

from m2t_fast.ops.decoding.words import sample_words, search

__all__ = ["sample_words", "search"]
