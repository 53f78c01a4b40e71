"""The list of a job's motion files, written to disk once, so that every process and every resumption sees the same."""

from __future__ import annotations

import heapq
import io
import itertools
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from m2t_fast.data.folder import MOTIONS
from m2t_fast.errors import UserError
from m2t_fast.files import atomic_path, resolved
from m2t_fast.motion.kinds import SUFFIXES, nothing_in
from m2t_fast.reading import Malformed, Missing, open_regular, parse_json

_SORTED_AT_ONCE = 100_000
"""Names that are sorted in memory; longer lists are merged from sorted pieces on disk."""


def write_manifest(source: Path, manifest: Path) -> tuple[Path, int]:
    """Lists the motion files of ``source`` in ``manifest``, one name per line as JSON, in constant memory.

    Args:
        source: a data folder (the files in ``new_joints`` or, where there is none, in ``new_joint_vecs``); a folder,
            for its .npy and .bvh files and those of the folders in it but hidden ones, sorted by name; or a text file,
            for the paths in it, one per line, in its order, from the working folder.
        manifest: the file to write.

    Returns:
        the folder that the names start from, and how many there are.

    Raises:
        UserError: there is no such source, it cannot be read, or it has no motion.
    """
    if source.is_dir():
        base = resolved(source)
        within = next((name for name in MOTIONS if (base / name).is_dir()), "")
        names: Iterable[str] = _sorted(_walk(base, within), manifest.parent)
        nothing = ""
    elif source.suffix.lower() in SUFFIXES:
        raise UserError(f"{source}: a motion file; expected a folder or a text file with one path per line")
    else:
        base, names, nothing = Path.cwd(), _lines(source), f"{source}: no paths in it; expected one per line"
    count = 0
    with atomic_path(manifest) as temporary, open(temporary, "w", encoding="ascii") as file:
        for name in names:
            file.write(json.dumps(name) + "\n")
            count += 1
        if not count:
            raise UserError(nothing or f"{source}: {nothing_in(base / within)}")
    return base, count


def names_of(manifest: Path, window: int, wanted: Iterable[int]) -> Iterator[list[tuple[int, str]]]:
    """The numbers and names of the files in the windows ``wanted`` (ascending) of ``window`` files each."""
    with open_regular(manifest) as file:
        line = 0
        for number in wanted:
            start = number * window
            for _ in itertools.islice(file, start - line):
                pass
            texts = list(itertools.islice(file, window))
            line = start + len(texts)
            try:
                # Names that are not UTF-8 are lone surrogates, as Python spells their bytes.
                names = [parse_json(text, str, surrogates=True) for text in texts]
            except Malformed as error:
                raise UserError(f"{manifest}: damaged ({error}); remove its folder to start again") from None
            yield [(start + place, name) for place, name in enumerate(names)]


def _lines(source: Path) -> Iterator[str]:
    try:
        with io.TextIOWrapper(open_regular(source), encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if "\0" in line:
                    raise UserError(f"{source}: line {number} is not text; expected one path per line")
                if name := line.rstrip("\r\n"):
                    yield name
    except Missing:
        raise UserError(
            f"{source}: no such folder or file; expected a folder, or a text file with one path per line"
        ) from None
    except OSError as error:
        raise UserError(f"{source}: cannot read: {error.strerror or error}") from None


def _walk(base: Path, within: str) -> Iterator[str]:
    """Names, from ``base``, of the motion files in its folder ``within`` and below, in no order."""
    open_folders = [within]
    while open_folders:
        folder = open_folders.pop()
        try:
            with os.scandir(base / folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        open_folders.append(name)
                    elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                        yield name
        except OSError as error:
            raise UserError(f"{base / folder}: cannot read: {error.strerror or error}") from None


def _sorted(names: Iterator[str], folder: Path) -> Iterator[str]:
    """The names in order."""
    with ExitStack() as stack:
        pieces: list[Iterable[str]] = []
        while piece := sorted(itertools.islice(names, _SORTED_AT_ONCE)):
            if not pieces and len(piece) < _SORTED_AT_ONCE:
                yield from piece
                return
            file = stack.enter_context(tempfile.TemporaryFile("w+", dir=folder, encoding="ascii"))
            file.writelines(json.dumps(name) + "\n" for name in piece)
            file.seek(0)
            pieces.append(map(json.loads, file))
        yield from heapq.merge(*pieces)
