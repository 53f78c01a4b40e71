"""Builds the native extension and installs the top-level folder kernels/ as m2t_fast.kernels."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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


# Several files at a time: as many as there are processors, or as this variable says.
ParallelCompile("M2T_FAST_BUILD_JOBS", default=0).install()

setup(
    packages=[
        *find_packages(include=["m2t_fast", "m2t_fast.*"]),
        "m2t_fast.kernels",
        *(f"m2t_fast.kernels.{package}" for package in find_packages("kernels")),
    ],
    package_dir={"m2t_fast.kernels": "kernels"},
    package_data={"": ["py.typed", "*.json", "*.txt", "*.html", "*.css", "*.js"]},
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
