"""Prepares a folder with what a bare machine with a GPU lacks: wheels, and the extension with the CUDA kernels.

    python benchmarks/gpu_bundle.py [--python python3.12] [--out build/gpu-bundle] [--most MIB] [--glibc 2.34]

The extension is built for the machine's Python (--python, of the same minor version) and checked: that it loads there,
that it asks for no newer C library than --glibc, and that folder and checkout together are not larger than --most MiB.
`make gpu` takes from the folder what it does not find, on a machine without a network. Needs nvcc and a package index.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHEELS = ("nltk", "defusedxml", "safetensors", "pytest", "pytest-xdist")
"""With what they need: all but torch, Triton and NumPy, which a machine with a GPU has."""
PLATFORMS = ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
LIBSTDCXX = (3, 4, 30)
"""The newest symbols that the C++ library of GCC 12 has."""
MANIFEST = "bundle.json"


def source_hash() -> str:
    """Of everything that the extension is made from."""
    paths = sorted([ROOT / "setup.py", *(path for path in (ROOT / "csrc").rglob("*") if path.is_file())])
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def download(python: str, out: Path) -> None:
    """The wheels for the other machine's Python."""
    version = said([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--only-binary=:all:"]
    run([*command, "--python-version", version, "--implementation", "cp", *platforms, "-d", str(out), *WHEELS])


def build(python: str, out: Path) -> Path:
    """The extension with CUDA kernels for ``python``; compiled files are kept in build/."""
    environment = ROOT / "build" / "gpu-bundle-env"
    if not (environment / "bin" / "python").exists():
        run([python, "-m", "venv", str(environment)])
    own = str(environment / "bin" / "python")
    run([own, "-m", "pip", "install", "-q", "--disable-pip-version-check", "setuptools>=77", "pybind11>=2.13"])
    library = ROOT / "build" / "gpu-bundle-lib"
    shutil.rmtree(library, ignore_errors=True)
    words = ["--build-lib", str(library), "--build-temp", str(ROOT / "build" / "gpu-bundle-temp")]
    run([own, "setup.py", "-q", "build_ext", *words], M2T_FAST_CUDA="1")
    (made,) = library.rglob("_native*.so")
    return Path(shutil.copy(made, out / made.name))


def check_loads(python: str, extension: Path) -> str:
    """What the extension says of itself in a process without torch, whose OpenMP the compiler's stands for."""
    code = (
        "import ctypes, importlib.util, sys\n"
        "ctypes.CDLL('libgomp.so.1', mode=ctypes.RTLD_GLOBAL)\n"
        "spec = importlib.util.spec_from_file_location('_native', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        "assert hasattr(module, 'cuda'), 'it has no CUDA kernels'\n"
        "print(module.build_info())\n"
    )
    return said([python, "-c", code, str(extension)])


def newest(extension: Path, name: str) -> tuple[int, ...]:
    """The newest version ``NAME_1.2`` that an extension's symbols ask for."""
    found = re.findall(rb"(?<![A-Z])" + name.encode() + rb"_(\d+(?:\.\d+)+)\x00", extension.read_bytes())
    return max((tuple(map(int, version.split(b"."))) for version in found), default=(0,))


def checkout_bytes() -> int:
    """Of the files that travel with the checkout: tracked ones, and those that git would add."""
    names = said(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]).split("\0")
    return sum((ROOT / name).stat().st_size for name in names if name and (ROOT / name).is_file())


def run(command: Sequence[str], **environment: str) -> None:
    """Run a command in the checkout.

    Raises:
        SystemExit: it failed.
    """
    ended = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, check=False)
    if ended.returncode:
        sys.exit(f"make gpu-bundle: failed: {' '.join(command)}")


def said(command: Sequence[str]) -> str:
    """The output of a command.

    Raises:
        SystemExit: it failed.
    """
    try:
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError as error:
        sys.exit(f"make gpu-bundle: {error}")
    if ended.returncode:
        sys.exit(f"make gpu-bundle: failed: {' '.join(command)[:200]}\n{ended.stderr[-1000:]}")
    return ended.stdout.strip()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="python3.12", help="of the other machine's minor version")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu-bundle")
    parser.add_argument("--most", type=float, default=64.0, help="MiB of folder and checkout")
    parser.add_argument("--glibc", default="2.34", help="the other machine's C library")
    arguments = parser.parse_args()
    out = arguments.out.absolute()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    said([arguments.python, "--version"])
    download(arguments.python, out)
    wrong, sources = [], source_hash()
    extension = build(arguments.python, out)
    if source_hash() != sources:
        wrong.append("the sources have changed while the extension was built: make gpu-bundle again")
    for name, most in (("GLIBC", tuple(map(int, arguments.glibc.split(".")))), ("GLIBCXX", LIBSTDCXX)):
        found = newest(extension, name)
        text = ".".join(map(str, found))
        print(f"{extension.name} asks for {name} {text}")
        if found > most:
            wrong.append(f"the extension asks for {name} {text}, the other machine has {'.'.join(map(str, most))}")
    print(check_loads(arguments.python, extension))
    (out / MANIFEST).write_text(json.dumps({"sources": sources, "extension": extension.name}, indent=1) + "\n")
    sizes = {path.name: path.stat().st_size for path in sorted(out.iterdir())}
    sizes["(the checkout)"] = checkout_bytes()
    for name, size in sizes.items():
        print(f"{size / 2**20:8.2f} MiB  {name}")
    total = sum(sizes.values()) / 2**20
    print(f"{total:8.2f} MiB  together, of {arguments.most:g}")
    if total > arguments.most:
        wrong.append(f"folder and checkout are {total:.1f} MiB, expected at most {arguments.most:g}")
    for text in wrong:
        print(f"make gpu-bundle: {text}", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
