"""Builds the native extension and installs the top-level folder kernels/ as m2t_fast.kernels."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import find_packages, setup
from setuptools.command.build_ext import build_ext


def files(pattern: str) -> list[str]:
    """Paths under csrc/ that match, relative to this file, in an order that is the same everywhere."""
    root = Path(__file__).parent
    return sorted(path.relative_to(root).as_posix() for path in (root / "csrc").glob(pattern))


class BuildNative(build_ext):
    """Chooses the compiler's flags, and leaves the extension out where there is no C++ compiler."""

    def build_extensions(self) -> None:
        """Builds everything; a missing compiler costs the extension, a compile error fails the build."""
        if self.compiler.compiler_type == "msvc":
            flags = ["/O2", "/W3"]
        else:
            compiler = self.compiler.compiler_so_cxx
            if shutil.which(compiler[0]) is None:
                print(
                    f"m2t_fast: no C++ compiler ({compiler[0]}): installing without the native extension; "
                    "everything works, on slower paths. Install one (or set CXX) and install again to get it.",
                    file=sys.stderr,
                )
                self.extensions = []
                return
            # Portable code: no -march=native (kernels choose instruction sets at run time), and exact: no -ffast-math.
            # Another level of optimisation may be asked for in CXXFLAGS.
            level = [] if "-O" in os.environ.get("CXXFLAGS", "") else ["-O3"]
            flags = [*level, "-Wall", "-Wextra", "-fopenmp" if has_gnu_openmp(compiler) else "-Wno-unknown-pragmas"]
        for extension in self.extensions:
            extension.extra_compile_args += flags
            extension.extra_link_args += ["-pthread"] if sys.platform == "linux" else []
            add_cuda(extension, Path(self.build_temp))
        super().build_extensions()


def has_gnu_openmp(compiler: list[str]) -> bool:
    """Whether -fopenmp makes this compiler emit calls to GNU's OpenMP runtime, the one that torch's Linux builds carry.

    The flag goes to the compiler and, on purpose, not to the linker: m2t_fast/native.py says why. That works with the
    GOMP_* entry points alone, which every runtime that torch is built with offers. Clang calls others (__kmpc_*), so
    with Clang, as on macOS and Windows, the kernels run on one thread.
    """
    if sys.platform != "linux":
        return False
    probe = subprocess.run(
        [*compiler, "-fopenmp", "-dM", "-E", "-x", "c++", os.devnull], capture_output=True, text=True, check=False
    )
    return probe.returncode == 0 and "_OPENMP" in probe.stdout and "__clang__" not in probe.stdout


CUDA_TARGETS = ("75", "80", "90", "100", "120")
"""Compute capabilities that get machine code: T4, A100, H100, B200, the GeForce 50 series, and what is compatible with
one of them; later ones compile the last one's PTX when they load it."""


def add_cuda(extension: Pybind11Extension, folder: Path) -> None:
    """Compiles csrc/cuda with nvcc and adds it to the extension; says in one line when it does not.

    M2T_FAST_CUDA=0 leaves it out, M2T_FAST_CUDA=1 fails where it cannot be built; otherwise it is built where there is
    an nvcc (in CUDA_HOME, or on the PATH) that knows the targets and has the static runtime library.
    """
    wanted = os.environ.get("M2T_FAST_CUDA", "")
    if wanted not in ("", "0", "1"):
        sys.exit(f"environment variable M2T_FAST_CUDA: got {wanted!r}, expected 0 or 1")
    reason, compiler = "M2T_FAST_CUDA=0", None
    if wanted != "0":
        reason, compiler = find_cuda()
    if compiler is None:
        if wanted == "1":
            sys.exit(f"m2t_fast: M2T_FAST_CUDA=1, but the CUDA kernels cannot be built: {reason}")
        print(f"m2t_fast: installing without the CUDA kernels: {reason}", file=sys.stderr)
        return
    nvcc, release, libraries = compiler
    folder = folder / "cuda"
    folder.mkdir(parents=True, exist_ok=True)
    flags = ["-std=c++17", "-O3", "-Icsrc", "-Xcompiler=-fPIC", "-t", "2", "--compress-mode=size"]
    for target in CUDA_TARGETS:
        code = f"sm_{target}" if target != CUDA_TARGETS[-1] else f"[sm_{target},compute_{target}]"
        flags += ["-gencode", f"arch=compute_{target},code={code}"]

    def compile_one(source: str) -> str:
        made = folder / (Path(source).stem + ".o")
        inputs = [Path(name) for name in (source, "setup.py", *files("cuda/*.h"), *files("common/*.h"))]
        if not made.exists() or made.stat().st_mtime < max(path.stat().st_mtime for path in inputs):
            subprocess.run([nvcc, *flags, "-c", source, "-o", str(made)], check=True)
        return str(made)

    jobs = int(os.environ.get("M2T_FAST_BUILD_JOBS") or os.cpu_count() or 1)
    with ThreadPoolExecutor(jobs) as pool:
        extension.extra_objects += pool.map(compile_one, files("cuda/*.cu"))
    extension.sources += files("cuda/*.cpp")
    targets = [*(f"sm_{target}" for target in CUDA_TARGETS), f"compute_{CUDA_TARGETS[-1]} (PTX)"]
    extension.define_macros += [("M2T_CUDA_RELEASE", f'"{release}"'), ("M2T_CUDA_TARGETS", f'"{", ".join(targets)}"')]
    # The runtime travels inside the extension, so that it loads without CUDA and beside any torch.
    extension.extra_link_args += [str(libraries / "libcudart_static.a"), "-ldl", "-lrt", "-lpthread"]


def find_cuda() -> tuple[str, tuple[str, str, Path] | None]:
    """(why there is none, None) or ("", (nvcc, its release, the folder of its libraries))."""
    home = os.environ.get("CUDA_HOME")
    nvcc = shutil.which("nvcc", path=str(Path(home) / "bin")) if home else shutil.which("nvcc")
    if sys.platform != "linux":
        return f"not tried on {sys.platform}", None
    if nvcc is None:
        return f"no nvcc in CUDA_HOME ({home})" if home else "no nvcc on the PATH, and CUDA_HOME is not set", None

    def output(*arguments: str) -> str:
        run = subprocess.run([nvcc, *arguments], capture_output=True, text=True, check=False)
        return run.stdout + run.stderr

    missing = [f"sm_{t}" for t in CUDA_TARGETS if f"sm_{t}" not in output("--list-gpu-code").split()]
    if missing:
        return f"{nvcc} does not compile for {', '.join(missing)} (CUDA 12.8 and later do)", None
    release = re.search(r"release ([\d.]+)", output("--version"))
    with tempfile.TemporaryDirectory() as empty:
        plan = output("--dryrun", "-x", "cu", os.devnull, "-o", str(Path(empty) / "a"))
    for library in re.findall(r'"-L([^"]+)"', plan):
        if (Path(library) / "libcudart_static.a").exists():
            return "", (nvcc, release[1] if release else "of unknown release", Path(library))
    return f"{nvcc} comes without libcudart_static.a", None


if __name__ == "__main__":
    # Several files at a time: as many as there are processors, or as this variable says.
    ParallelCompile("M2T_FAST_BUILD_JOBS", default=0).install()
    setup(
        packages=[
            *find_packages(include=["m2t_fast", "m2t_fast.*"]),
            "m2t_fast.kernels",
            *(f"m2t_fast.kernels.{package}" for package in find_packages("kernels")),
        ],
        package_dir={"m2t_fast.kernels": "kernels"},
        package_data={"": ["py.typed", "*.json", "*.txt", "*.html", "*.css", "*.js", "*.safetensors"]},
        ext_modules=[
            Pybind11Extension(
                "m2t_fast._native",
                sources=["csrc/bindings.cpp", *files("common/*.cpp"), *files("cpu/*.cpp")],
                depends=files("**/*.h"),
                include_dirs=["csrc"],
                cxx_std=17,
            )
        ],
        cmdclass={"build_ext": BuildNative},
    )
