"""The extension beside torch: one OpenMP runtime in the process, several threads, fork, and its absence."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from m2t_fast import native

needs_openmp = pytest.mark.skipif(
    not native.build_info().get("openmp", False), reason="the extension was built without OpenMP, or not at all"
)

PACK = """
import os, re
from m2t_fast import native
import torch

def pack():
    values, offsets = torch.arange(4000.0).reshape(1000, 4), torch.arange(0, 1001, 10)
    out = native.pack_ragged(values, offsets, torch.arange(100), 12, -1.0)
    assert torch.equal(out[:, :10].reshape(1000, 4), values) and bool((out[:, 10:] == -1).all())
"""


def run(code: str) -> str:
    """What a fresh interpreter prints; the test fails with its errors when it does."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_openmp
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")
def test_torch_and_the_extension_share_one_openmp_runtime() -> None:
    printed = run(
        PACK
        + """
torch.set_num_threads(4)
torch.randn(300, 300) @ torch.randn(300, 300)
pack()
with open("/proc/self/maps") as maps:
    libraries = {line.rstrip().split(maxsplit=5)[-1] for line in maps}
runtimes = {path for path in libraries if re.match(r"lib(gomp|omp|iomp5?)[-.\\d]", os.path.basename(path))}
assert {os.path.realpath(native.build_info()["openmp_runtime"])} == {os.path.realpath(path) for path in runtimes}
print(len(runtimes))
"""
    )
    assert printed.split() == ["1"]


@needs_openmp
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")
def test_several_threads_pack() -> None:
    printed = run(
        PACK
        + """
torch.set_num_threads(1)
pack()
before = len(os.listdir("/proc/self/task"))
torch.set_num_threads(4)
pack()
print(before, len(os.listdir("/proc/self/task")))
"""
    )
    before, after = (int(number) for number in printed.split())
    assert after >= before + 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_worker_packs_on_one_thread() -> None:
    """What a data loader's worker does after its parent used all its threads."""
    printed = run(
        PACK
        + """
import signal
torch.set_num_threads(4)
pack()
child = os.fork()
if child == 0:
    signal.alarm(30)
    torch.set_num_threads(1)
    pack()
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    )
    assert printed.split() == ["0"]


@pytest.mark.skipif(not native.available(), reason="the extension is not built")
def test_build_info_tells_compiler_openmp_and_instruction_sets() -> None:
    info = native.build_info()
    assert re.match(r"(gcc|clang|msvc) \d", info["compiler"])
    assert isinstance(info["openmp"], bool)
    assert all(isinstance(name, str) for name in info["cpu"])
    assert native.why_unavailable() is None


def test_without_the_extension_the_reason_is_given_and_packing_works() -> None:
    """A finder in front of all others says that the extension is not there, as where it was never built."""
    printed = run(
        """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "m2t_fast._native":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
"""
        + PACK
        + """
pack()
print(native.available(), native.build_info(), native.why_unavailable())
"""
    )
    assert printed.startswith("False {} m2t_fast._native is not built: install a C++ compiler")


def test_an_extension_that_does_not_load_is_told_from_one_that_is_missing() -> None:
    printed = run(
        """
import sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "m2t_fast._native":
            raise ImportError("undefined symbol: GOMP_parallel")
sys.meta_path.insert(0, Broken())
from m2t_fast import native
print(native.available(), native.why_unavailable())
"""
    )
    assert printed.split("\n")[0] == "False m2t_fast._native does not load: undefined symbol: GOMP_parallel"


@pytest.mark.skipif(not native.available(), reason="the extension is not built")
def test_the_extension_knows_nothing_of_torch() -> None:
    """It is linked to no torch library, so that one build serves every torch version."""
    spec = importlib.util.find_spec("m2t_fast._native")
    assert spec is not None and spec.origin is not None
    with open(spec.origin, "rb") as library:
        content = library.read()
    assert b"libtorch" not in content and b"libc10" not in content and b"libgomp.so" not in content


def test_a_checkout_on_the_path_has_its_kernels() -> None:
    """Without an installation, which the flag leaves out, and without a link to the folder."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "csrc").is_dir():
        pytest.skip("no csrc/ beside the tests: it is no checkout")
    code = (
        f"import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f)]; "
        f"sys.path.insert(0, {str(root)!r}); import m2t_fast.kernels; print(m2t_fast.kernels.__file__)"
    )
    assert Path(run(code).strip()) == root / "kernels" / "__init__.py"
