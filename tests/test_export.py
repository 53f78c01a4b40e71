"""Exported captioners give the captioner's numbers for any batch, frames and words, in a process without m2t_fast."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from m2t_fast import Captioner, CaptionerConfig, export
from m2t_fast.cli import main
from m2t_fast.config import MAX_LENGTH
from m2t_fast.data.preprocessing import DataSettings, Statistics
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.errors import UserError
from m2t_fast.export import FORWARD_OUTPUTS, GREEDY_OUTPUTS, check_file
from m2t_fast.run_folder import write_run

SIZES = [(2, 5, 3), (1, 1, 1), (4, 2, 1), (3, 30, 12), (0, 4, 2)]
"""B, T and L: none is that of the exporter's own example."""
Program = Callable[..., dict[str, Tensor]]


@cache
def captioner(scoring: str) -> Captioner:
    """An untrained captioner whose captions differ between motions and end."""
    torch.manual_seed(5)
    sizes = dict(joints=21, part_dim=8, attention_dim=6, hidden_size=10, embedding_dim=4)
    model = Captioner(CaptionerConfig(vocab_size=30, scoring=scoring, **sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
        model.output.bias[2] += 3.0
    return model


def batch(B: int, T: int, L: int) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(100 * B + 10 * T + L)
    lengths = torch.randint(1, T + 1, (B,), generator=g)
    return torch.randn(B, T, 21, 3, generator=g), lengths, torch.randint(4, 30, (B, L + 1), generator=g)


def check(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-4, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )


@torch.no_grad()
def check_known(run: Program, scoring: str, sizes: list[tuple[int, int, int]] = SIZES) -> None:
    for shape in sizes:
        out = captioner(scoring)(*batch(*shape))
        check(run(*batch(*shape)), {name: getattr(out, name) for name in FORWARD_OUTPUTS})


@torch.no_grad()
def check_greedy(run: Program, sizes: list[tuple[int, int, int]] = SIZES) -> None:
    for shape in sizes:
        motion, lengths, _ = batch(*shape)
        expected = captioner("part").generate(motion, lengths, beam_size=1, max_length=9)
        found, width = run(motion, lengths), expected.tokens.shape[2]
        assert found["words"][:, width:].eq(0).all() and found["words"].shape[1] == 9
        cut = {name: x if name == "score" else x[:, :width] for name, x in found.items()}
        values = expected.tokens[:, 0], expected.scores[:, 0], *expected.attention
        check(cut, dict(zip(GREEDY_OUTPUTS, values, strict=True)))


@pytest.fixture(scope="module", autouse=True)
def exported() -> Iterator[Callable[..., torch.export.ExportedProgram]]:
    """``m2t_fast.export.exported``, once for equal captioners and options: a trace takes five seconds."""
    made: dict[tuple[object, ...], torch.export.ExportedProgram] = {}
    original = export.exported

    def once(model: Captioner, greedy: bool = False, max_length: int = MAX_LENGTH) -> torch.export.ExportedProgram:
        key = model.config, model.training, model.output.bias.sum().item(), greedy, max_length
        if key not in made:
            made[key] = original(model, greedy, max_length)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "exported", once)
        yield once


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    vocabulary = Vocabulary.build([[f"w{i}"] * 9 for i in range(26)], 1)
    statistics = Statistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    write_run(folder, captioner("part"), vocabulary, statistics, DataSettings.kit(), None)
    return folder


@pytest.fixture(scope="module")
def file(run_folder: Path) -> Path:
    """The run, exported."""
    path = run_folder / "captioner.pt2"
    assert main(["export", str(run_folder), str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def loaded(file: Path) -> Program:
    return torch.export.load(file).module()


def test_known_words(loaded: Program) -> None:
    check_known(loaded, "part")


@pytest.mark.slow
def test_known_words_of_frame_scoring(exported: Callable) -> None:
    check_known(exported(captioner("frame")).module(), "frame")


def test_greedy_words(exported: Callable) -> None:
    check_greedy(exported(captioner("part"), greedy=True, max_length=9).module())


def test_numbers_out_of_range_are_refused(loaded: Program) -> None:
    motion, lengths, tokens = batch(2, 5, 3)
    for bad in ((motion, lengths * 0, tokens), (motion, lengths + 5, tokens), (motion, lengths, tokens + 30)):
        with pytest.raises(RuntimeError, match="(lengths|tokens): a value out of range"):
            loaded(*bad)


LOADS = """
import json, sys, torch
extra = {"config.json": "", "vocabulary.json": ""}
run = torch.export.load(sys.argv[1], extra_files=extra).module()
given = torch.load(sys.argv[2])
torch.save(run(*given), sys.argv[3])
assert len(json.loads(extra["vocabulary.json"])["words"]) == 30
assert json.loads(extra["config.json"])["format"] == "m2t_fast run"
assert not any(name.startswith("m2t_fast") for name in sys.modules)
"""


def test_a_process_without_the_package(file: Path, tmp_path: Path) -> None:
    def run(*given: Tensor) -> dict[str, Tensor]:
        torch.save(given, tmp_path / "given.pt")
        files = file, tmp_path / "given.pt", tmp_path / "found.pt"
        subprocess.run([sys.executable, "-c", LOADS, *files], check=True, cwd=tmp_path, timeout=300)
        return torch.load(tmp_path / "found.pt")

    check_known(run, "part", [(3, 7, 4)])


def onnx_runs(path: Path) -> Program:
    session = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed").InferenceSession(path)
    names = [x.name for x in session.get_outputs()]

    def run(*given: Tensor) -> dict[str, Tensor]:
        inputs = {x.name: tensor.numpy() for x, tensor in zip(session.get_inputs(), given, strict=True)}
        return {name: torch.tensor(y) for name, y in zip(names, session.run(None, inputs), strict=True)}

    run.metadata = session.get_modelmeta().custom_metadata_map  # type: ignore[attr-defined]
    return run


@pytest.mark.slow
@pytest.mark.parametrize("greedy", [False, True])
def test_onnx(greedy: bool, run_folder: Path, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    options = ["--greedy", "--max-length", "9"] if greedy else []
    assert main(["export", str(run_folder), str(tmp_path / "captioner.onnx"), *options]) == 0
    run = onnx_runs(tmp_path / "captioner.onnx")
    assert json.loads(run.metadata["config.json"])["format"] == "m2t_fast run"  # type: ignore[attr-defined]
    if greedy:
        check_greedy(run)
    else:
        check_known(run, "part")


@pytest.mark.slow
def test_ahead_of_time_on_the_cpu(file: Path, tmp_path: Path) -> None:
    """AOTInductor compiles the program to a library; without optimisation and vectors, which take a compiler long."""
    settings = {"aot_inductor.compile_wrapper_opt_level": "O0", "aot_inductor.precompile_headers": False}
    settings["cpp.vec_isa_ok"] = False
    path = str(tmp_path / "compiled.pt2")
    torch._inductor.aoti_compile_and_package(torch.export.load(file), package_path=path, inductor_configs=settings)
    check_known(torch._inductor.aoti_load_package(path), "part", SIZES[:4])


USERS = """
import sys, torch
import m2t_fast.captioner
given = torch.load(sys.argv[2])
torch.save(tuple(torch.export.load(sys.argv[1]).module()(*given)), sys.argv[3])
"""


@pytest.mark.slow
def test_a_program_that_calls_the_kernels(tmp_path: Path) -> None:
    """torch.export of the model itself, its output a CaptionerOutput, loaded where the package is installed."""
    auto = torch.export.Dim.AUTO
    sizes = {0: auto, 1: auto}, {0: auto}, {0: auto, 1: auto}
    with torch.no_grad(), torch.fx.experimental._config.patch(backed_size_oblivious=True):
        made = torch.export.export(captioner("part"), batch(3, 5, 4), dynamic_shapes=sizes)
    assert any("m2t_fast.spatio_temporal_attention" in str(node.target) for node in made.graph.nodes)
    torch.export.save(made, tmp_path / "model.pt2")
    torch.save(batch(2, 9, 1), tmp_path / "given.pt")
    files = [tmp_path / name for name in ("model.pt2", "given.pt", "found.pt")]
    subprocess.run([sys.executable, "-c", USERS, *files], check=True, cwd=tmp_path, timeout=300)
    expected = captioner("part")(*batch(2, 9, 1))
    for found, value in zip(torch.load(tmp_path / "found.pt"), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-4)
    assert type(made.module()(*batch(4, 2, 3))) is type(expected)


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch, run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Captioner(captioner("part").config)
    with pytest.raises(ValueError, match=r"training mode.*model.eval\(\)"):
        export.exported(model)
    assert main(["export", str(run_folder), "captioner.pth"]) == 2
    assert "captioner.pth: expected a name that ends in .pt2 or .onnx" in capsys.readouterr().err
    assert main(["export", str(run_folder), "captioner.pt2", "--max-length", "9"]) == 2
    assert "--max-length is for --greedy" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'onnx is not installed: pip install "m2t_fast\[onnx\]"'):
        check_file(Path("captioner.onnx"))


def test_a_file_that_cannot_be_written_whole_is_one_line(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit stands for a full disk, on which torch's own writer of archives would end the process."""
    resource = pytest.importorskip("resource", reason="limits of files are those of POSIX")
    program = torch.export.export(torch.nn.Linear(40, 40), (torch.zeros(1, 40),))
    monkeypatch.setattr("m2t_fast.export.exported", lambda *args: program)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        code = main(["export", str(run_folder), str(tmp_path / "captioner.pt2")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 2 and list(tmp_path.iterdir()) == []
    assert f"m2t-fast: error: {tmp_path / 'captioner.pt2'}: cannot write: File too large" in capsys.readouterr().err
