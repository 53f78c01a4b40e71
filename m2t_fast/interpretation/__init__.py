"""Looking inside: what the model attended to, word by word, and pictures of it."""

from m2t_fast.captioning.words import WordAttention, caption_words, seconds_of
from m2t_fast.data.matching import ActionNames, match_words
from m2t_fast.interpretation.animation import save_animation
from m2t_fast.interpretation.attention_map import attention_map, save_attention_map
from m2t_fast.interpretation.captioned import CaptionedMotion
from m2t_fast.interpretation.localisation import measure, rank_auc
from m2t_fast.interpretation.page import render_page, save_page
from m2t_fast.interpretation.statistics import WordRecord, generated_words, reference_words

__all__ = [
    "ActionNames",
    "CaptionedMotion",
    "WordAttention",
    "WordRecord",
    "attention_map",
    "caption_words",
    "generated_words",
    "match_words",
    "measure",
    "rank_auc",
    "reference_words",
    "render_page",
    "save_animation",
    "save_attention_map",
    "save_page",
    "seconds_of",
]
