"""Looking inside: what the model attended to, word by word, and pictures of it."""

from m2t_fast.interpretation.attention_map import attention_map, save_attention_map
from m2t_fast.interpretation.words import WordAttention, caption_words, seconds_of

__all__ = ["WordAttention", "attention_map", "caption_words", "save_attention_map", "seconds_of"]
