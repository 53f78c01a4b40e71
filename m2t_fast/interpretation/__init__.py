"""Looking inside: what the model attended to, word by word, and pictures of it."""

from m2t_fast.interpretation.animation import save_animation
from m2t_fast.interpretation.attention_map import attention_map, save_attention_map
from m2t_fast.interpretation.captioned import CaptionedMotion
from m2t_fast.interpretation.page import render_page, save_page
from m2t_fast.interpretation.words import WordAttention, caption_words, seconds_of

__all__ = [
    "CaptionedMotion",
    "WordAttention",
    "attention_map",
    "caption_words",
    "render_page",
    "save_animation",
    "save_attention_map",
    "save_page",
    "seconds_of",
]
