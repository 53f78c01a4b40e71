"""Tokens of captions as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.data.text import tokenise


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A person walks 4 steps forward.", ["a", "person", "walks", "4", "steps", "forward"]),
        ("the person's arm; don't!", ["the", "person's", "arm", "don't"]),
        ("the person\u2019s arm", ["the", "person's", "arm"]),
        ("rock`n`roll", ["rock'n'roll"]),
        ("'quoted' dancers' hands", ["quoted", "dancers", "hands"]),
        ("counter-clockwise/left_hand", ["counter", "clockwise", "left", "hand"]),
        ("Caf\u00e9 \ufb01ve \uff21\u0130 na\u00efve", ["cafe", "five", "ai", "naive"]),
        ("a 90\u00b0 turn\tand\nstop", ["a", "90", "turn", "and", "stop"]),
        ("... -- !", []),
        ("", []),
    ],
)
def test_known_captions(text: str, tokens: list[str]) -> None:
    assert tokenise(text) == tokens


@given(st.text(alphabet=st.characters(codec="latin-1"), max_size=40))
def test_tokens_are_stable(text: str) -> None:
    tokens = tokenise(text)
    assert tokenise(" ".join(tokens)) == tokens
    assert all(token == token.lower() and not token.startswith("'") and " " not in token for token in tokens)
