"""The sixteen attacks that once got through, by number, each as it is made: from the command line or the Python API.

Their cousins are tested where they are mended: readers in ``tests/test_reading.py``, ``tests/motion/test_hostile.py``,
files of every kind in ``tests/fuzz``, full disks, kills and races in ``tests/faults``, tensors in ``tests/ops``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import fuzz
import pytest
import torch

import m2t_fast
from m2t_fast import ops
from m2t_fast.captioning import job as captioning_job
from m2t_fast.errors import UserError
from m2t_fast.files import _machine, new_folder
from m2t_fast.ops.cases import CASES
from m2t_fast.tensor_files import read_tensors

Run = Callable[..., tuple[int, str, str]]
CAPTION = ("caption", "run", "motion.npy")
EVALUATE = ("evaluate", "run", "--data", "data")
TRAIN = ("train", "--data", "data", "--min-count", "1", "--quiet")


@pytest.fixture(scope="module")
def original() -> Iterator[Path]:
    with fuzz.world() as made:
        yield made


@pytest.fixture
def world(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of everything, which is the working folder."""
    shutil.copytree(original, tmp_path / "world", symlinks=True)
    monkeypatch.chdir(tmp_path / "world")
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("M2T_FAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "world"


def run(*argv: str) -> tuple[int, str, str]:
    return fuzz.run_quietly(list(argv))


def refused(*argv: str) -> str:
    """The one line that a command ends with."""
    code, _, said = run(*argv)
    assert code == 2 and said.count("m2t-fast: error: ") == 1, said
    return said


def change(path: str, **values: object) -> None:
    """Changes values of a JSON object."""
    Path(path).write_text(json.dumps({**json.loads(Path(path).read_text()), **values}))


def test_01_a_torn_line_of_a_sweeps_journal_is_cut(world: Path) -> None:
    journal = world / "study/study.journal"
    whole = journal.read_bytes()
    for torn in (whole[:-5], whole + b'{"op_code": 1, "wor', whole[: len(whole) // 2]):
        journal.write_bytes(torn)
        for _ in range(2):
            code, out, said = run(*fuzz.SWEEP)
            assert code == 0 and "50.00" in out and "Traceback" not in said
        assert journal.read_bytes().endswith(b"\n")


def test_02_public_ops_check_what_they_are_given() -> None:
    x = next(iter(CASES["guided_attention"].values())).record(torch.float32)
    for name in ("parts", "temporal_query", "spatial_weight", "lengths", "spatial_target"):
        value = getattr(x, name)
        for wrong in (value[None], value.to("meta"), "x", None):
            with pytest.raises((ValueError, TypeError)):
                ops.guided_attention(*x._replace(**{name: wrong}))
    step = next(iter(CASES["guided_decoder_step"].values())).record(torch.float32)
    for name in ("context", "word", "context_weight"):
        with pytest.raises((ValueError, TypeError), match="guided_decoder_step"):
            ops.guided_decoder_step(*step._replace(**{name: getattr(step, name)[..., :1]}))


def test_02_a_token_that_is_no_word() -> None:
    model = m2t_fast.Captioner(m2t_fast.CaptionerConfig(9, joints=22, **fuzz.SIZES)).eval()
    motion, lengths = torch.zeros(1, 4, 22, 3), torch.tensor([4])
    for token in (10**8, -1, 9, 2**62):
        tokens = torch.tensor([[1, token, 2]])
        with pytest.raises(ValueError, match="tokens"):
            model(motion, lengths, tokens)


def test_02_tensors_that_are_not_dense() -> None:
    model = m2t_fast.Captioner(m2t_fast.CaptionerConfig(9, joints=22, **fuzz.SIZES)).eval()
    given = {"motion": torch.ones(1, 4, 22, 3), "lengths": torch.tensor([4]), "tokens": torch.tensor([[1, 4, 2]])}
    for name, value in given.items():
        with pytest.raises(TypeError, match=f"{name} has layout torch.sparse_coo"):
            model(**{**given, name: value.to_sparse()})


@pytest.mark.parametrize("name", ["beam_size", "max_length"])
@pytest.mark.parametrize("value", [2**31, 2**63, 2**64, 10**20])
def test_06_sizes_of_a_search_have_bounds_in_python(name: str, value: int) -> None:
    model = m2t_fast.Captioner(m2t_fast.CaptionerConfig(9, joints=22, **fuzz.SIZES)).eval()
    with pytest.raises(ValueError, match=rf"{name}: got {value}, expected less than 2\*\*31"):
        model.generate(torch.ones(1, 4, 22, 3), torch.tensor([4]), **{name: value})


@pytest.mark.parametrize("op", ["spatio_temporal_attention", "guided_attention", "spatial_loss", "gather_motions"])
def test_03_tensors_on_meta_are_refused_by_device(op: str) -> None:
    x = next(iter(CASES[op].values())).record(torch.float32)
    tensors = [name for name in x._fields[1:] if isinstance(getattr(x, name), torch.Tensor)]
    for name in tensors:
        with pytest.raises(ValueError, match=f"{name} is on meta, expected cpu"):
            getattr(ops, op)(*x._replace(**{name: getattr(x, name).to("meta")}))


def test_04_paths_that_are_not_utf8(world: Path) -> None:
    name = os.fsdecode(b"r\xff")
    os.rename("run", name)
    os.rename("data", os.fsdecode(b"d\xff"))
    os.rename("takes", os.fsdecode(b"t\xff"))
    data = ("--data", os.fsdecode(b"d\xff"))
    code, _, said = run("evaluate", name, *data, "--output", os.fsdecode(b"s\xff"))
    assert code == 0, said
    code, _, said = run("interpret", name, *data, "--output", os.fsdecode(b"i\xff"), "--figures", "none")
    assert code == 0, said
    code, _, said = run(*fuzz.SWEEP[:1], *data, "--output", os.fsdecode(b"w\xff"), *fuzz.SWEEP[5:])
    assert code == 0, said
    strict = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    with contextlib.redirect_stdout(strict), contextlib.redirect_stderr(io.StringIO()):
        assert m2t_fast.cli.main(["caption", name, os.fsdecode(b"t\xff")]) == 0


def test_05_sizes_that_the_weights_do_not_have_take_no_memory(world: Path) -> None:
    config = json.loads(Path("run/config.json").read_text())
    model = {**config["model"], "hidden_size": 20_000} if "model" in config else None
    change("run/config.json", **({"model": model} if model else {"hidden_size": 20_000}))
    begun = fuzz.begin_measuring()
    said = refused(*CAPTION)
    assert "has shape" in said and "--batch-size" not in said
    assert fuzz.most_memory() < fuzz.MOST_MEMORY and begun >= 0


@pytest.mark.parametrize("value", [2**62, 10**20, -1])
@pytest.mark.parametrize(
    "argv",
    [
        *((*CAPTION, option) for option in ("--beam-size", "--max-length", "--batch-size")),
        ("bench", "--threads"),
        ("bench", "--runs"),
        (*TRAIN, "--output", "new", "--epochs"),
        ("demo", "--output", "new", "--motions"),
    ],
    ids=lambda argv: argv[-1],
)
def test_06_whole_numbers_have_bounds(world: Path, argv: tuple[str, ...], value: int) -> None:
    with contextlib.suppress(UserError):
        assert "expected" in refused(*argv, str(value))
    assert not Path("new").exists()


def test_07_weights_that_are_not_finite_are_not_written(world: Path) -> None:
    said = refused(*TRAIN, "--output", "new", "--epochs", "2", "--learning-rate", "1e308")
    assert "not finite" in said or "expected" in said
    for path in Path(".").glob("new/*.safetensors"):
        assert all(
            bool(tensor.isfinite().all()) for tensor in read_tensors(path)[0].values() if tensor.is_floating_point()
        )


DAMAGE = {
    "nested": b"[" * 100_000, "digits": b"9" * 4301, "large": b"1" + b"0" * 400, "float": b"1e400", "text": b'"x"',
    "number": b"1.5", "null": b"null", "list": b"[]", "surrogate": b'"\\ud800"', "control": b'"a\rb"', "nan": b"NaN",
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_08_json_of_any_kind_is_one_line(world: Path, damage: str) -> None:
    """In the place of the whole document, and of each of its values."""
    for kind in ("configuration", "vocabulary", "files", "joint map"):
        target = fuzz.TARGETS[kind]
        whole = (world / target.file).read_bytes()
        first, _, rest = whole.partition(b"\n")
        contents = [DAMAGE[damage], first.replace(b"1", DAMAGE[damage], 1) + b"\n" + rest]
        at = whole.find(b": ")
        contents.append(whole[: at + 2] + DAMAGE[damage] + b"}")
        for content in contents:
            assert fuzz.attempt(target, world, content) is None
        (world / target.file).write_bytes(whole)


def test_08_weights_and_moments_of_other_dtypes(world: Path) -> None:
    for kind in ("weights", "state"):
        target = fuzz.TARGETS[kind]
        whole = (world / target.file).read_bytes()
        for dtype in (b'"F8_E4M3"', b'"I64"', b'"BOOL"', b'"F16"', b'"X"'):
            assert fuzz.attempt(target, world, whole.replace(b'"F32"', dtype.ljust(5), 1)) is None
        (world / target.file).write_bytes(whole)


def test_09_a_cache_with_another_header_is_built_again(world: Path, tmp_path: Path) -> None:
    expected = run(*EVALUATE)
    (cache,) = (tmp_path / "cache").rglob("*.safetensors")
    whole = cache.read_bytes()
    assert run(*EVALUATE)[:2] == expected[:2]
    for old, new in ((b'"F32"', b'"I32"'), (b'"I64"', b'"F64"'), (b'"shape":[', b'"shape":[1,')):
        changed = whole.replace(old, new, 1)
        header = struct.unpack("<Q", whole[:8])[0] + len(changed) - len(whole)
        cache.write_bytes(struct.pack("<Q", header) + changed[8:])
        assert run(*EVALUATE)[:2] == expected[:2]


@pytest.mark.parametrize("name", ["context_scale", "std", "mean"])
def test_10_numbers_that_no_model_has(world: Path, name: str) -> None:
    text = Path("run/config.json").read_text()
    config = json.loads(text)

    def spoil(value: dict) -> bool:
        for key, inner in value.items():
            if key == name:
                value[key] = float("inf") if name == "context_scale" else [1e-300 if name == "std" else 1e300] * 3
                return True
            if isinstance(inner, dict) and spoil(inner):
                return True
        return False

    assert spoil(config)
    Path("run/config.json").write_text(json.dumps(config))
    refused(*CAPTION, "--json")


def test_11_what_a_killed_merge_left_is_removed(world: Path) -> None:
    gone = 4_194_000  # no process has so high a number
    for left in (f".new.jsonl.{_machine()}-{gone}.tmp", f".new.left_out.jsonl.{_machine()}-{gone}.tmp"):
        Path(left).write_text("half a job")
    assert run("caption", "run", "--data", "mixed", "--output", "new.jsonl")[0] == 3  # two files are no motions
    assert not list(world.glob(".new*"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("what", ["pipe", "/dev/zero", "folder"])
def test_12_only_regular_files_are_read(world: Path, what: str) -> None:
    kinds = [kind for kind, target in fuzz.TARGETS.items() if target.path(world).exists() and not target.piped]
    for kind in kinds:
        target = fuzz.TARGETS[kind]
        path = world / target.file
        whole = path.read_bytes()
        path.unlink()
        if what == "pipe":
            os.mkfifo(path)
        elif what == "folder":
            path.mkdir()
        else:
            path.symlink_to(what)
        for name in target.output:
            fuzz.remove(world / name)
        code, _, said = run(*target.argv)
        assert code in fuzz.GOOD and "Traceback" not in said, (kind, said)
        path.rmdir() if what == "folder" else path.unlink(missing_ok=True)
        path.write_bytes(whole)


def test_13_a_folder_that_another_process_made_meanwhile(tmp_path: Path) -> None:
    message = "new: output folder exists already: made by another process"
    with pytest.raises(UserError, match=message), new_folder(tmp_path / "new"):
        (tmp_path / "new").mkdir()
        (tmp_path / "new/theirs").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_14_a_fork_after_threads_is_documented() -> None:
    text = (Path(__file__).parents[2] / "SECURITY.md").read_text()
    assert "forks after torch has used several threads" in " ".join(text.split())


def test_15_a_journal_that_is_a_link_is_refused(world: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("not ours\n")
    job = ["caption", "run", "--data", "takes", "--output", "new.jsonl"]
    fuzz.run_until(captioning_job, "_finish", job, world)
    for journal, argv in (("study/study.journal", fuzz.SWEEP), ("new.jsonl.parts/part-00000.jsonl", job)):
        (world / journal).unlink()
        (world / journal).symlink_to(other)
        assert "link" in refused(*argv)
        assert other.read_text() == "not ours\n"


OURS = {
    "a sweep's lock": ("study/lock", fuzz.SWEEP),
    "a sweep's journal": ("study/study.journal", fuzz.SWEEP),
    "a job's lock": ("new.jsonl.parts/lock", ("caption", "run", "--data", "takes", "--output", "new.jsonl")),
    "a job's folder": ("new.jsonl.parts", ("caption", "run", "--data", "takes", "--output", "new.jsonl")),
    "metrics": ("trained/metrics.jsonl", ("train", "--data", "data", "--output", "trained", "--resume", "--quiet")),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("target", ["file", "folder", "missing", "pipe", "itself"])
@pytest.mark.parametrize("name", OURS)
def test_15_what_a_command_keeps_beside_its_output_is_no_link(
    world: Path, tmp_path: Path, name: str, target: str
) -> None:
    """Nor does a pipe in its place stop the command for ever."""
    place, argv = OURS[name]
    path, other = world / place, tmp_path / "other"
    path.parent.mkdir(exist_ok=True)
    fuzz.remove(path)
    path.symlink_to(path if target == "itself" else other)
    if target == "file":
        other.write_text("not ours\n")
    elif target == "folder":
        other.mkdir()
    elif target == "pipe":
        os.mkfifo(other)
    said = refused(*argv)
    assert "link" in said or "holds no sweep" in said  # a link to nowhere is no journal
    path.unlink()
    assert os.path.lexists(other) == (target in ("file", "folder", "pipe"))
    assert target != "file" or other.read_text() == "not ours\n"
    assert target != "folder" or not list(other.iterdir())
    os.mkfifo(path)
    assert "m2t-fast: error: " in refused(*argv)


@pytest.mark.parametrize("argv", [(*CAPTION, "--html", "round"), (*CAPTION, "--segments", "--srt", "round"),
                                  ("evaluate", "round", "--data", "data"), ("caption", "round", "motion.npy"),
                                  ("caption", "run", "--data", "round", "--output", "new.jsonl")], ids=str)  # fmt: skip
def test_12_links_that_go_round(world: Path, argv: tuple[str, ...]) -> None:
    Path("round").symlink_to("round")
    code, _, said = run(*argv)
    assert code in (0, 2) and "Traceback" not in said


@pytest.mark.parametrize("output", ["", ".", "/", "//"])
def test_04_an_output_without_a_name(world: Path, output: str) -> None:
    refused("caption", "run", "--data", "takes", "--output", output)
    refused("caption", "run\0", "motion.npy")


def test_16_control_characters_are_shown(world: Path) -> None:
    words = json.loads(Path("run/vocabulary.json").read_text())
    text = json.dumps(words)
    listed = words if isinstance(words, list) else words["words"]
    for place in range(4, len(listed)):
        listed[place] = f"w{place}\x1b[31m"
    Path("run/vocabulary.json").write_text(json.dumps(words))
    assert text != json.dumps(words)
    code, out, said = run(*CAPTION)
    assert code in (0, 2) and "\x1b" not in out + said
    os.rename("run", "run\x1b[31m|\nb")
    code, _, said = run("evaluate", "run\x1b[31m|\nb", "--data", "data", "--output", "scores")
    assert code in (0, 2) and "\x1b" not in said
    for path in Path(".").glob("scores/*.md"):
        table = path.read_text()
        assert (
            "\x1b" not in table and {line.count(" | ") for line in table.split("\n") if line.startswith("|")} != set()
        )


@pytest.mark.parametrize("output", ["predictions.jsonl", "../world/predictions.jsonl", "."])
def test_04_what_is_to_be_scored_is_not_replaced(world: Path, output: str) -> None:
    before = Path("predictions.jsonl").read_bytes()
    output = output.replace("world", Path.cwd().name)
    assert "which is to be scored" in refused("score", "predictions.jsonl", "--data", "data", "--output", output)
    assert Path("predictions.jsonl").read_bytes() == before
