"""Makes every test start from the same state: seeds, hypothesis settings and a cache folder of its own."""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import forking
import hypothesis
import numpy as np
import pytest

import m2t_fast  # noqa: F401  # isort: skip  # before torch: it sets how threads wait, as for every user
import torch

pytest_plugins = ["interpreter"]

# derandomize: the same examples in every run; database None: no folder of past failures in the checkout.
hypothesis.settings.register_profile("m2t_fast", deadline=None, max_examples=25, derandomize=True, database=None)
hypothesis.settings.load_profile("m2t_fast")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests come first: at the end of a run no worker waits for another's long one."""
    marks = ("slow", "interpreted")
    long = {item.path for item in items if any(item.get_closest_marker(mark) for mark in marks)}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Preprocessed data goes to a temporary folder, never to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("M2T_FAST_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same random numbers, alone or among others."""
    torch.manual_seed(0)


@pytest.fixture
def quick_compiler() -> Iterator[None]:
    """torch's compiler writes C++ without vectors, which takes the C++ compiler half of the time."""
    import torch._inductor.config as settings

    with settings.patch("cpp.vec_isa_ok", False):
        yield


@pytest.fixture
def start_job() -> Iterator[Callable[..., list[forking.Forked]]]:
    """``start_job(size, *arguments, **environment)``: ``python ARGUMENTS`` as the processes of one job, by rank."""
    started: list[forking.Forked] = []

    def start(size: int, *arguments: object, **environment: str) -> list[forking.Forked]:
        port = forking.free_port()
        shared = {"WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
        for rank in range(size):
            own = {name: str(value) for name, value in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()}
            started.append(forking.start([*arguments], {**os.environ, **own, **environment}))
        return started[-size:]

    yield start
    for process in started:
        process.kill()
        process.wait()


def _append(path: Path, text: str) -> None:
    path.write_text(path.read_text().rstrip("\n") + "\n" + text + "\n")


def _spoilt(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path, str, str], None]:
    def apply(folder: Path, split: str, motion: str) -> None:
        file = folder / "new_joints" / f"{motion}.npy"
        np.save(file, change(np.load(file)))

    return apply


def _bytes(change: Callable[[bytes], bytes], part: str = "new_joints/{}.npy") -> Callable[[Path, str, str], None]:
    def apply(folder: Path, split: str, motion: str) -> None:
        file = folder / part.format(motion)
        file.write_bytes(change(file.read_bytes()))

    return apply


def _line(text: str) -> Callable[[Path, str, str], None]:
    return lambda folder, split, motion: _append(folder / "texts" / f"{motion}.txt", text)


def _folder_in_place(folder: Path, split: str, motion: str) -> None:
    (folder / "new_joints" / f"{motion}.npy").unlink()
    (folder / "new_joints" / f"{motion}.npy").mkdir()


def _segments(folder: Path, split: str, motion: str) -> None:
    file = folder / "segments.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    entry = {"content": "walk", "start": 5, "end": 10**6, "parts": ["root"]}
    file.write_text(json.dumps({**known, motion: {"segments": [entry]}}))


def _at(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(motion: np.ndarray) -> np.ndarray:
        motion[len(motion) // 2, 3, 1] = value
        return motion

    return change


FAULTS: dict[str, tuple[str, str, Callable[[Path, str, str], None]]] = {
    "no motion": ("motion", "no motion file", lambda f, s, m: (f / "new_joints" / f"{m}.npy").unlink()),
    "a folder as motion": ("motion", "no motion file", _folder_in_place),
    "truncated": ("motion", "unreadable motion", _bytes(lambda b: b[:-7])),
    "empty file": ("motion", "unreadable motion", _bytes(lambda b: b"")),
    "text as motion": ("motion", "unreadable motion", _bytes(lambda b: b"0.1 0.2")),
    "integers": ("motion", "unreadable motion", _spoilt(lambda m: m.astype(np.int32))),
    "flat": ("motion", "wrong shape", _spoilt(lambda m: m.reshape(len(m), -1))),
    "other joints": ("motion", "other joints", _spoilt(lambda m: m[:, :21])),
    "no frames": ("motion", "no frames", _spoilt(lambda m: m[:0])),
    "NaN": ("motion", "NaN or infinite", _spoilt(_at(np.nan))),
    "infinite": ("motion", "NaN or infinite", _spoilt(_at(np.inf))),
    "huge": ("motion", "too large", _spoilt(_at(1e30))),
    "no text": ("motion", "no text file", lambda f, s, m: (f / "texts" / f"{m}.txt").unlink()),
    "no UTF-8": ("motion", "unreadable text", _bytes(lambda b: b + b"\xff\xfe", "texts/{}.txt")),
    "blank text": ("motion", "no captions", _bytes(lambda b: b" \n\n", "texts/{}.txt")),
    "only empty captions": ("motion", "empty caption", _bytes(lambda b: b"#a/DET#0#0\n##0#0", "texts/{}.txt")),
    "an empty caption": ("caption", "empty caption", _line(" #a/DET#0.0#0.0")),
    "a malformed caption": ("caption", "malformed caption", _line("a man walks#a/DET man#0.0#0.0")),
    "times that are none": ("caption", "malformed caption", _line("a man walks#a/DET#soon#0.0")),
    "id twice": ("id", "repeated id", lambda f, s, m: _append(f / f"{s}.txt", m)),
    "no id": ("id", "not an id", lambda f, s, m: _append(f / f"{s}.txt", f"../{m}")),
    "segments beyond the motion": ("segments", "malformed segments", _segments),
}
"""What can be wrong with one motion of a data folder: what is left out of it, the kind of fault, and how it comes
about."""


@pytest.fixture(scope="session")
def faults() -> dict[str, tuple[str, str, Callable[[Path, str, str], None]]]:
    """Every fault of a data folder by name: what it leaves out, its kind, and ``spoil(folder, split, id)``."""
    return FAULTS


def _shared_data() -> Path:
    given = os.environ.get("M2T_FAST_DATA")
    return Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: ``$M2T_FAST_DATA``, or ``shared/data`` beside the repository."""
    folder = _shared_data()
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is no folder (set M2T_FAST_DATA to one that holds bandai22)")
    return folder


@pytest.fixture(scope="session")
def bandai(shared_data: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder bandai22, unpacked into pytest's cache the first time if there is only its archive."""
    if (shared_data / "bandai22").is_dir():
        return shared_data / "bandai22"
    archive = shared_data / "bandai22.tar.xz"
    if not archive.is_file():
        pytest.skip(f"no real data: neither bandai22/ nor bandai22.tar.xz in {shared_data}")
    cache = getattr(request.config, "cache", None)  # -p no:cacheprovider has none
    target = (cache.mkdir("m2t_fast_data") if cache else tmp_path_factory.mktemp("m2t_fast_data")) / "bandai22"
    if not target.is_dir():
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            with tarfile.open(archive) as opened:
                opened.extractall(temporary, filter="data")
            os.replace(Path(temporary) / "bandai22", target)
    return target
