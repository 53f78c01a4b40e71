"""Everything a run has made so far, as one archive that is complete at any time; and how to unpack it."""

from __future__ import annotations

import contextlib
import os
import tarfile
from pathlib import Path

NAME = "gpu-results.tar.gz"
MOST = 16 << 20
"""Bytes of an archive: a machine that is lent may give back no larger file."""
LOG_BYTES = 400_000
"""Of one log: its beginning and its end."""


class Archive:
    """Packs the folder ``work`` into ``out``/gpu-results.tar.gz."""

    def __init__(self, work: Path, out: Path):
        self.work, self.out = work, out
        work.mkdir(parents=True, exist_ok=True)
        out.mkdir(parents=True, exist_ok=True)

    def publish(self) -> None:
        """Pack all that is there; never raises: a full disk must not cost the steps that follow."""
        try:
            self._pack(self.out)
        except OSError as error:
            print(f"the archive is not written: {error}", flush=True)

    def _pack(self, out: Path) -> None:
        temporary = out / f".{NAME}"
        with contextlib.ExitStack() as done:
            done.callback(lambda: temporary.unlink(missing_ok=True))
            for largest in (LOG_BYTES, LOG_BYTES // 20, 0):
                with tarfile.open(temporary, "w:gz", compresslevel=6) as archive:
                    for path in sorted(self.work.rglob("*")):
                        if path.is_file():
                            self._add(archive, path, largest)
                if temporary.stat().st_size <= MOST:
                    break
            os.replace(temporary, out / NAME)

    def _add(self, archive: tarfile.TarFile, path: Path, largest: int) -> None:
        name = str(path.relative_to(self.work))
        if path.suffix != ".log" or path.stat().st_size <= largest:
            archive.add(path, name)
            return
        shortened = self.work / f".{path.name}.short"
        try:
            with path.open("rb") as file:
                head = file.read(largest // 4)
                file.seek(-(largest - len(head)), os.SEEK_END) if largest else file.seek(0, os.SEEK_END)
                shortened.write_bytes(head + b"\n[... left out ...]\n" + file.read())
            archive.add(shortened, name)
        finally:
            shortened.unlink(missing_ok=True)


def unpack(archive: Path, folder: Path) -> list[Path]:
    """The files of an archive, extracted into ``folder``."""
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
        return [folder / name for name in packed.getnames() if (folder / name).is_file()]
