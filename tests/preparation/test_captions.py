"""Caption files: what is read, what is refused, and whose caption a row is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from m2t_fast.errors import UserError
from m2t_fast.preparation import CaptionRow, read_caption_rows, rows_of


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table(delimiter: str, tmp_path: Path) -> None:
    lines = ["File,Caption,start,end,source", "a.bvh,walks on,,,anna", '"b","he said ""hop"", then hops",0.5,2,ben']
    path = tmp_path / "c.csv"
    text = "\r\n".join(lines)
    path.write_text(text if delimiter == "," else text.replace('""hop"", ', "").replace(",", delimiter), "utf-8-sig")
    first, second = read_caption_rows(path)
    assert first == CaptionRow("a.bvh", "walks on", source="anna")
    assert (second.file, second.start, second.end, second.source) == ("b", 0.5, 2.0, "ben")
    assert second.caption.endswith("then hops")


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    rows = [{"file": "a", "captions": ["walks", "goes"], "split": "test"}, {"file": "b", "caption": "jumps", "end": 3}]
    path.write_text("\n\n".join(json.dumps(row) for row in rows))
    assert read_caption_rows(path) == [
        CaptionRow("a", "walks", split="test"),
        CaptionRow("a", "goes", split="test"),
        CaptionRow("b", "jumps", end=3.0),
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.txt", "", "expected captions as .csv or .jsonl"),
        ("c.csv", "", "columns none"),
        ("c.csv", "file,caption\n", "no captions"),
        ("c.csv", "name,caption\na,b", "columns name, caption; expected file, caption"),
        ("c.csv", "file,caption\na,b,c", "line 2: expected 2 values"),
        ("c.csv", "file,caption\na,...", "caption '...', expected words"),
        ("c.csv", "file,caption\na,no #1", "no '#'"),
        ("c.csv", "file,caption,start\na,b,soon", "start 'soon', expected seconds"),
        ("c.csv", "file,caption,start,end\na,b,2,1", "expected an end after the start"),
        ("c.csv", "file,caption,split\na,b,dev", "split 'dev', expected one of train, val, test"),
        ("c.csv", "caption,file\na,", "no file"),
        ("c.jsonl", "{", "line 1: not JSON"),
        ("c.jsonl", "[" * 100000, "line 1: not JSON"),
        ("c.jsonl", "3", "line 1: got '3'"),
        ("c.jsonl", '{"file": "a", "text": "b"}', "unknown field 'text'"),
        ("c.jsonl", '{"file": "a", "captions": []}', "expected a list of strings"),
        ("c.jsonl", '{"file": ["a"], "caption": "b"}', "expected a string"),
        ("c.jsonl", '{"file": "a", "caption": "b", "start": NaN}', "expected seconds"),
        ("c.jsonl", '{"file": "a", "caption": "b", "start": 1e308}', "expected seconds"),
        ("c.jsonl", '{"file": "a", "caption": "b", "end": 18446744073709551615}', "expected seconds"),
        ("c.csv", "file,caption,start,end\na,b,,1e300", "expected seconds"),
    ],
)
def test_what_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_caption_rows(path)
    assert str(error.value).startswith(f"{path}: ") and message in str(error.value)


def test_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read: No such file"):
        read_caption_rows(tmp_path / "none.csv")
    (tmp_path / "c.csv").write_bytes(b"file,caption\na,\xff\xfe")
    with pytest.raises(UserError, match="not UTF-8"):
        read_caption_rows(tmp_path / "c.csv")


def test_whose_caption_it_is() -> None:
    files = [(Path("in/day1/a.bvh"), "day1/a.bvh"), (Path("in/day2/a.bvh"), "day2/a.bvh"), (Path("b.npy"), "b.npy")]
    rows = [CaptionRow("day1/a", "x"), CaptionRow("in/day2/a.bvh", "y"), CaptionRow("b", "z"), CaptionRow("c", "?")]
    found, strays = rows_of(rows, files)
    assert [[row.caption for row in found[path]] for path, _ in files] == [["x"], ["y"], ["z"]]
    assert [row.caption for row in strays] == ["?"]
    with pytest.raises(UserError, match="'a' may be any of in/day1/a.bvh, in/day2/a.bvh"):
        rows_of([CaptionRow("a", "x")], files)
