"""Kinds of motion files: which are read, and the messages about those that are not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from m2t_fast.errors import UserError
from m2t_fast.reading import open_regular

CAPTURES: tuple[str, ...] = (".bvh", ".glb", ".amc")
"""Kinds whose joints have names; .gltf, .vrm and .vrma are read as .glb."""

SUFFIXES: tuple[str, ...] = (
    ".npy", ".bvh", ".npz", ".pkl", ".pt", ".pth", ".glb", ".gltf", ".vrm", ".vrma", ".amc", ".c3d",
)  # fmt: skip
"""Endings of motion files, in lower case."""

_SAME = {".gltf": ".glb", ".vrm": ".glb", ".vrma": ".glb", ".pth": ".pt", ".pickle": ".pkl"}
_BLENDER = "Blender reads it (File > Import) and writes .bvh or .glb (File > Export)"
_REFUSED = {
    ".fbx": f"an .fbx file, which is not read: {_BLENDER}",
    ".dae": f"a COLLADA file, which is not read: {_BLENDER}",
    ".usd": f"a USD file, which is not read: {_BLENDER}",
    ".blend": "a Blender file: open it there and export .bvh or .glb (File > Export)",
    ".asf": "a skeleton without motion; give the .amc file, which finds the .asf beside it (or --asf FILE)",
    ".csv": "a table, which does not say what its columns are: np.save joints of shape (frames, 22, 3) as .npy "
    "(np.loadtxt(file, delimiter=',').reshape(-1, 22, 3))",
    ".txt": "a text, expected a motion file",
    ".json": "JSON, expected a motion file: np.save its joints of shape (frames, 22, 3) as .npy",
    ".mp4": "a film: an estimator (GVHMR, WHAM, 4D-Humans) makes SMPL parameters of it, which are read",
    ".mvnx": "Xsens' .mvnx, which is not read: MVN exports .bvh and .c3d",
    ".trc": "a table of markers (.trc), which is not read: export .c3d",
    ".h5": "HDF5, which is not read: np.save its joints of shape (frames, 22, 3) as .npy",
    ".mat": "a MATLAB file, which is not read: np.save its joints of shape (frames, 22, 3) as .npy",
    ".zip": "an archive: unpack it and give the folder",
}
_REFUSED |= {".tsv": _REFUSED[".csv"], ".mov": _REFUSED[".mp4"], ".avi": _REFUSED[".mp4"], ".mkv": _REFUSED[".mp4"]}
_REFUSED |= {".webm": _REFUSED[".mp4"], ".hdf5": _REFUSED[".h5"], ".usdz": _REFUSED[".usd"], ".usdc": _REFUSED[".usd"]}
_REFUSED |= {".usda": _REFUSED[".usd"], ".md": _REFUSED[".txt"], ".tar": _REFUSED[".zip"], ".7z": _REFUSED[".zip"]}
_REFUSED |= {
    ending: f"a compressed file: {tool} unpacks it; give what comes out"
    for ending, tool in ((".gz", "gunzip"), (".bz2", "bunzip2"), (".xz", "unxz"))
}
_TEXTS = (".txt", ".md")  # of which folders have some that are about their motions
_POINTER = b"version https://git-lfs"
_MAGIC = (
    (b"\x93NUMPY", ".npy"), (b"glTF", ".glb"), (b"Kaydara FBX", ".fbx"), (b"\x89HDF", ".h5"), (b"HIERARCHY", ".bvh"),
    (b"\xef\xbb\xbfHIERARCHY", ".bvh"), (b"BLENDER", ".blend"), (b"; FBX", ".fbx"), (b"\xff\xfeH\0I\0", ".bvh"),
)  # fmt: skip


def kind_of(path: str | Path) -> str:
    """The kind of a motion file: by its extension; where that says nothing, by its first bytes.

    Raises:
        UserError: it cannot be read, or is a pointer to a file that was not fetched.
    """
    ending = Path(path).suffix.lower()
    with open_regular(path) as file:
        begin = file.read(len(_POINTER))
    if begin == _POINTER:
        raise UserError(f"{path}: a Git LFS pointer, not the file itself: git lfs pull fetches it")
    if ending in SUFFIXES or ending == ".pickle":
        return _SAME.get(ending, ending)
    return next((kind for magic, kind in _MAGIC if begin.startswith(magic)), ending)


def refusal(kind: str) -> str | None:
    """Why a kind is not read, and what to do; None for one that is."""
    if kind in SUFFIXES:
        return None
    listed = ", ".join(SUFFIXES)
    return _REFUSED.get(kind, f"{'a file without ending' if not kind else f'a {kind} file'}, expected one of {listed}")


def motion_files(folder: str | Path) -> list[Path]:
    """The motion files of a folder and of the folders in it, sorted; hidden ones are left out.

    Raises:
        UserError: there are none.
    """
    found = [path for path in _files(Path(folder)) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise UserError(f"{folder}: {nothing_in(folder)}")
    return found


def nothing_in(folder: str | Path) -> str:
    """The message about a folder without motion files: why files of another kind are not read, and what to do."""
    files = _files(Path(folder))
    for kind in (kind for kind in _REFUSED if kind not in _TEXTS):
        others = [path.name for path in files if path.suffix.lower() == kind]
        if others:
            which = others[0] + (f" (one of {len(others):,})" if len(others) > 1 else "")
            return f"no motion files in it that can be read; {which} is {_REFUSED[kind]}"
    return f"no motion files in it; expected {' or '.join(SUFFIXES[:2])} ({', '.join(SUFFIXES[2:])})"


def none_readable(errors: Sequence[str]) -> str:
    """The message about a folder none of whose motion files can be read, for these reasons."""
    if len(errors) == 1:
        return f"its only motion file cannot be read: {errors[0]}"
    return f"none of its {len(errors):,} motion files can be read; the first: {errors[0]}"


def _files(folder: Path) -> list[Path]:
    """All files of a folder and of the folders in it but hidden ones, sorted."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
