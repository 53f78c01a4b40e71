"""Files that are none, texts that are none, and JSON of another form than declared: one sentence, never a traceback."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from m2t_fast.reading import (
    Malformed,
    Missing,
    NotText,
    Unreadable,
    check_form,
    parse_json,
    read_bytes,
    read_json,
    read_text,
    shown,
)

FORM = {"name": str, "size": int, "rate?": (float, None), "words": [str], "more?": {str: float}, "any?": Any}


def test_regular_files_alone(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    for path, reason in ((pipe, "not a regular file"), (link, "not a regular file"), (tmp_path, "a folder")):
        with pytest.raises(Unreadable, match=f"{path}: cannot read: it is {reason}"):
            read_text(path)
    with pytest.raises(Missing, match="No such file"):
        read_text(tmp_path / "none")
    with pytest.raises(Unreadable, match="null byte"):
        read_text("a\0b")


def test_a_file_larger_than_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", most=5) == b"12345"
    with pytest.raises(Unreadable, match="5 bytes, expected at most 4"):
        read_bytes(tmp_path / "a", most=4)


def test_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("\ufeffä\r\nb\rc\n".encode())
    assert read_text(tmp_path / "a", "utf-8-sig") == "ä\nb\nc\n"
    (tmp_path / "a").write_bytes(b"ab\xff")
    with pytest.raises(NotText, match=r"a: not UTF-8 text \(byte 2\)"):
        read_text(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000 + "1", "nested too deeply"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("1" * 5000, "5000 digits"),
        (str(2**64), "64 bits"),
        (str(-(2**63) - 1), "64 bits"),
        ('["\\ud800"]', "half a character"),
        ('{"\\udfff": 1}', "half a character"),
        ("", "not JSON"),
        ("{", "not JSON"),
        ('"a', "not JSON"),
        (b"\xff", r"not UTF-8 text \(byte 0\)"),
    ],
    ids=lambda x: str(x)[:12],
)
def test_what_is_no_json(text: str | bytes, message: str) -> None:
    with pytest.raises(Malformed, match=f"line 3: .*{message}"):
        parse_json(text, where="line 3: ")


def test_whole_characters_and_long_numbers_within_64_bits() -> None:
    assert parse_json('["\\ud83d\\ude00", 18446744073709551615, -9223372036854775808]') == ["😀", 2**64 - 1, -(2**63)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"got \[\], expected an object"),
        ({"size": 1, "words": []}, "name is missing"),
        ({"name": "x", "size": 1.0, "words": []}, "size: got 1.0, expected a whole number"),
        ({"name": "x", "size": True, "words": []}, "size: got True, expected a whole number"),
        ({"name": "x", "size": 1, "words": ["a", None]}, "words: item 1: got None, expected a string"),
        ({"name": "x", "size": 1, "words": [], "rate": "1"}, "rate: got '1', expected a number or null"),
        ({"name": "x", "size": 1, "words": [], "rate": math.inf}, "rate: got inf, expected a number or null"),
        ({"name": "x", "size": 1, "words": [], "more": {"a": math.nan}}, "more: 'a': got nan, expected a number"),
        ({"name": "x", "size": 1, "words": {}}, r"words: got \{\}, expected a list"),
    ],
    ids=str,
)
def test_another_form(content: Any, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        check_form(content, FORM)


def test_the_declared_form(tmp_path: Path) -> None:
    content = {"name": "x", "size": 3, "rate": None, "words": ["a"], "more": {"b": 1}, "any": [None], "unknown": 1}
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert read_json(tmp_path / "a.json", FORM) == content
    check_form(None, ({"a": int}, None))
    with pytest.raises(Malformed, match="a: got 1.5"):
        check_form({"a": 1.5}, ({"a": int}, None))
    with pytest.raises(Malformed, match="expected an object or null"):
        check_form(3, ({"a": int}, None))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*"abc", "name", "size"]), inner),
    max_leaves=8,
)


@given(JSON)
@example({"name": "x", "size": 10**400, "words": []})
def test_any_content_is_of_the_form_or_malformed(content: Any) -> None:
    try:
        found = parse_json(json.dumps(content), FORM)
    except Malformed as error:
        assert len(str(error)) < 500
        return
    assert isinstance(found["name"], str) and type(found["size"]) is int
    assert found.get("rate") is None or math.isfinite(found["rate"])


@given(st.binary(max_size=60))
@example(b"\x00")
@example(b'{"a": 1e999}')
def test_any_bytes(content: bytes) -> None:
    try:
        parse_json(content, {str: float})
    except Malformed:
        return
    assert all(math.isfinite(value) for value in json.loads(content).values())


def test_a_value_is_shown_shortly() -> None:
    nested: list = []
    for _ in range(100_000):
        nested = [nested]
    assert len(shown(nested)) < 100 and len(shown("x" * 10**6)) < 100 and len(shown(10**4000)) < 100
