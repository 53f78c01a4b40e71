"""Looking inside: what the model attended to, word by word, and pictures of it."""

from m2t_fast.interpretation.attention_map import attention_map, save_attention_map
from m2t_fast.interpretation.localisation import measure, rank_auc
from m2t_fast.interpretation.matching import ActionNames, match_words
from m2t_fast.interpretation.statistics import WordRecord, generated_words, reference_words
from m2t_fast.interpretation.words import WordAttention, caption_words, seconds_of

__all__ = [
    "ActionNames",
    "WordAttention",
    "WordRecord",
    "attention_map",
    "caption_words",
    "generated_words",
    "match_words",
    "measure",
    "rank_auc",
    "reference_words",
    "save_attention_map",
    "seconds_of",
]
