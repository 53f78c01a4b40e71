"""``m2t-fast caption --data --output``: the captions of named files, in any number of processes, killed at any time."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import forking
import numpy as np
import pytest

from m2t_fast.captioning import CaptionJob, caption_files
from m2t_fast.captioning import job as job_module
from m2t_fast.errors import UserError
from m2t_fast.run_folder import load_run

REPEATS = 250


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, motion: Callable) -> list[Path]:
    folder = tmp_path_factory.mktemp("motions")
    for number, frames in enumerate((57, 12, 1, 120, 2, 33, 90)):
        np.save(folder / f"m{number}.npy", motion(frames, seed=number))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def long_list(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough motions to be killed in between."""
    path = tmp_path_factory.mktemp("list") / "list.txt"
    path.write_text("\n".join(map(str, files * REPEATS)))
    return path


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_captions_are_those_of_named_files(call, tiny_run, files, tmp_path):
    named = call("caption", tiny_run, *files, "--max-length", 6).out.splitlines()
    output = tmp_path / "new" / "captions.jsonl"
    result = call("caption", tiny_run, "--data", files[0].parent, "--output", output, "--max-length", 6)
    assert result.code == 0 and result.out == f"{output}\n"
    assert [record["file"] for record in records(output)] == [file.name for file in files]
    assert [record["caption"] for record in records(output)] == named
    assert all(list(record) == ["file", "caption", "score", "trust"] for record in records(output))
    assert all(record["score"] <= 0 for record in records(output))
    assert [path.name for path in output.parent.iterdir()] == ["captions.jsonl"]
    assert f"{len(files)} captions in" in result.err and "22 joints" in result.err


def test_a_bad_file_is_left_out_and_listed(call, tiny_run, files, tmp_path):
    source = tmp_path / "motions"
    source.mkdir()
    for file in files:
        (source / file.name).write_bytes(file.read_bytes())
    (source / "a_bad.npy").write_bytes(b"no array")
    (source / "z_gone.npy").symlink_to(tmp_path / "nowhere")
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(f"{source}/{name}" for name in ("m0.npy", "a_bad.npy", "gone.npy", "m1.npy")))
    output = tmp_path / "captions.jsonl"
    result = call("caption", tiny_run, "--data", listed, "--output", output, "--max-length", 4)
    assert result.code == 3 and [Path(r["file"]).name for r in records(output)] == ["m0.npy", "m1.npy"]
    left_out = records(tmp_path / "captions.left_out.jsonl")
    assert [Path(r["file"]).name for r in left_out] == ["a_bad.npy", "gone.npy"]
    assert result.err.count("left out: ") == 2 and "2 of 4 motions were left out" in result.err
    output.unlink()
    assert call("caption", tiny_run, "--data", files[0].parent, "--output", output, "--max-length", 4).code == 0
    assert not (tmp_path / "captions.left_out.jsonl").exists()


def test_batches_are_bounded_in_frames_and_windows_in_motions(tiny_run, files, tmp_path, monkeypatch):
    opened, seen = load_run(tiny_run), []
    generate = opened.model.generate

    def watched(motion, lengths, **search):
        seen.append(tuple(motion.shape[:2]))
        return generate(motion, lengths, **search)

    monkeypatch.setattr(opened.model, "generate", watched)
    monkeypatch.setattr(job_module, "WINDOW", 4)
    monkeypatch.setattr(job_module, "_FRAMES", 20)
    job = CaptionJob(files[0].parent, tmp_path / "out.jsonl", search={"beam_size": 1, "max_length": 4}, batch_size=3)
    summary = caption_files(opened, job)
    assert summary.made == summary.motions == sum(rows for rows, _ in seen) == 7
    assert all(rows <= 3 and (rows == 1 or rows * frames <= 60) for rows, frames in seen)
    assert all(len(record["caption"].split()) <= 4 for record in records(job.output))


def command(run: Path, source: Path, output: Path) -> list[str]:
    argv = ["caption", run, "--data", source, "--output", output, "--beam-size", 1, "--max-length", 5]
    return ["-m", "m2t_fast", *map(str, argv), "--batch-size", "8"]


def test_a_file_of_several_motions_has_a_line_for_each(call, tiny_run, files, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    shutil.copy(files[0], folder / "a.npy")
    batch = np.stack([np.load(files[0])[:40], np.load(files[3])[:40]])
    np.save(folder / "b.npy", batch)
    np.save(folder / "c.npy", batch[:1])
    named = call("caption", tiny_run, folder, "--max-length", 6)
    output = tmp_path / "captions.jsonl"
    result = call("caption", tiny_run, "--data", folder, "--output", output, "--max-length", 6)
    assert result.code == named.code == 0 and "4 captions in" in result.err
    lines = [f"{record['file']}\t{record['caption']}" for record in records(output)]
    assert lines == named.out.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["a.npy", "b.npy#0", "b.npy#1", "c.npy"]


def wait_for_bytes(processes: list[forking.Forked], parts: Path, count: int) -> None:
    while processes[0].poll() is None and sum(p.stat().st_size for p in parts.glob("part-*")) < count:
        time.sleep(0.002)


@pytest.mark.parametrize("sizes", [(1, 1, 1), pytest.param((2, 1, 3), marks=pytest.mark.slow)])
def test_killed_at_any_time_it_goes_on(sizes, call, tiny_run, files, long_list, start_job, tmp_path):
    """Every motion once, in order, whoever did it; what was written before the kill is not done again."""
    output, written = tmp_path / "captions.jsonl", 0
    parts = tmp_path / "captions.jsonl.parts"
    moment = random.Random(sum(sizes))
    for number, size in enumerate(sizes):
        processes = start_job(size, *command(tiny_run, long_list, output))
        if number < len(sizes) - 1:
            wait_for_bytes(processes, parts, written + moment.randrange(1, 30_000))
            processes[-1].send_signal(signal.SIGKILL)
            for process in processes:
                if process is not processes[-1]:
                    process.send_signal(signal.SIGTERM)
            for process in processes:
                process.communicate(timeout=60)
            assert not output.exists()
            written = sum(path.stat().st_size for path in parts.glob("part-*"))
            with open(parts / "part-00000.jsonl", "ab") as file:
                file.write(b'{"number": 5, "fi')  # as if it had been killed while it wrote
        else:
            said = [process.communicate(timeout=120)[1] for process in processes]
            assert [process.returncode for process in processes] == [0] * size, said
    assert int(said[0].rpartition("m2t-fast: ")[2].split()[0].replace(",", "")) < len(files) * REPEATS
    expected = call("caption", tiny_run, *files, "--beam-size", 1, "--max-length", 5).out.splitlines()
    assert [record["file"] for record in records(output)] == [str(file) for file in files * REPEATS]
    assert [record["caption"] for record in records(output)] == expected * REPEATS
    assert [path.name for path in tmp_path.iterdir()] == ["captions.jsonl"]


def test_every_cut_goes_on(tiny_run, files, tmp_path, monkeypatch):
    """Ended after each batch in turn, and between the last files: no motion twice, none lost."""
    opened = load_run(tiny_run)

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    captioned: list[str] = []
    original = job_module.Part.append

    def append_and_end(self, batch):
        original(self, batch)
        captioned.extend(record["file"] for record in batch)
        raise Killed

    job = CaptionJob(files[0].parent, tmp_path / "out.jsonl", search={"beam_size": 1, "max_length": 4}, batch_size=2)
    with monkeypatch.context() as patch:
        patch.setattr(job_module.Part, "append", append_and_end)
        for _ in range(4):
            with pytest.raises(Killed):
                caption_files(opened, job)
    with monkeypatch.context() as patch:
        patch.setattr(job_module, "remove_folder", killed)  # the output is there, the parts are, too
        with pytest.raises(Killed):
            caption_files(opened, job)
    assert sorted(captioned) == [file.name for file in files]
    for other in (replace(job, source=files[0]), replace(job, search={**job.search, "beam_size": 2})):
        with pytest.raises(UserError, match="this job was begun differently"):  # the output is not that of this one
            caption_files(opened, other)
    summary = caption_files(opened, job)
    assert summary.made == 0 and summary.motions == 7 and not job.parts.exists()
    assert [record["file"] for record in records(job.output)] == [file.name for file in files]
    job.parts.mkdir()  # a process that was killed as it removed it, or another that has just begun
    for _ in range(2):
        with pytest.raises(UserError, match="output file exists already"):
            caption_files(opened, job)
        assert not job.parts.exists()


def test_what_others_put_beside_the_work_stays(tiny_run, files, tmp_path):
    job = CaptionJob(files[0].parent, tmp_path / "out.jsonl", search={"beam_size": 1, "max_length": 4})
    for folder in ("mine", ".job.json.1.tmp"):
        (job.parts / folder).mkdir(parents=True)
    for name in ("mine/notes.txt", "notes.txt", ".notes.tmp"):
        (job.parts / name).write_text("of value")
    kept = sorted(job.parts.rglob("*"))
    opened = load_run(tiny_run)
    assert caption_files(opened, job).made == 7
    for again in (job, replace(job, source=files[0])):
        with pytest.raises(UserError, match="output file exists already"):
            caption_files(opened, again)
    assert sorted(job.parts.rglob("*")) == kept


def test_the_output_that_another_job_makes_meanwhile_is_not_claimed(tiny_run, files, tmp_path, monkeypatch):
    """The other begins and ends between this one's look at the output and its lock."""
    opened, take = load_run(tiny_run), job_module.locked_folder
    job = CaptionJob(files[0].parent, tmp_path / "out.jsonl", search={"beam_size": 1, "max_length": 4})
    other = replace(job, search={"beam_size": 1, "max_length": 2})

    def after_the_other(folder: Path):
        monkeypatch.setattr(job_module, "locked_folder", take)
        assert caption_files(opened, other).made == 7
        return take(folder)

    monkeypatch.setattr(job_module, "locked_folder", after_the_other)
    with pytest.raises(UserError, match="output file exists already"):
        caption_files(opened, job)
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    assert max(len(record["caption"].split()) for record in records(job.output)) <= 2


@pytest.mark.parametrize("gone", ["folder", "part", "folder, and another job began"])
def test_work_that_is_removed_meanwhile_is_missed(gone, tiny_run, files, tmp_path, monkeypatch):
    opened, finish = load_run(tiny_run), job_module._finish
    job = CaptionJob(files[0].parent, tmp_path / "out.jsonl", search={"beam_size": 1, "max_length": 4})
    others = job.parts / "part-00000.jsonl"

    def remove_and_finish(*args):
        if gone == "part":
            (job.parts / "part-00000.jsonl").unlink()
        else:
            shutil.rmtree(job.parts)
        if "another" in gone:
            job.parts.mkdir()
            for path in (others, job.parts / "lock"):
                path.write_text("of value")
        return finish(*args)

    with monkeypatch.context() as patch:
        patch.setattr(job_module, "_finish", remove_and_finish)
        with pytest.raises(UserError, match="7 motions removed meanwhile" if gone == "part" else "was removed while"):
            caption_files(opened, job)
    assert not job.output.exists()
    if "another" in gone:
        assert others.read_text() == "of value"
    else:
        assert caption_files(opened, job).made == len(records(job.output)) == 7


@pytest.mark.parametrize("when", ["before the end", "after a kill"])
def test_an_output_that_others_put_there_does_not_cost_the_captions(when, tiny_run, files, tmp_path, monkeypatch):
    opened, finish = load_run(tiny_run), job_module._finish
    job = CaptionJob(files[0].parent, tmp_path / "out.jsonl", search={"beam_size": 1, "max_length": 4})

    def write_and_finish(*args):
        job.output.write_text("of value")
        if when == "after a kill":
            raise KeyboardInterrupt
        return finish(*args)

    with monkeypatch.context() as patch:
        patch.setattr(job_module, "_finish", write_and_finish)
        with pytest.raises(KeyboardInterrupt if when == "after a kill" else UserError):
            caption_files(opened, job)
    with pytest.raises(UserError, match="output file exists already"):
        caption_files(opened, job)
    assert job.output.read_text() == "of value"
    job.output.unlink()
    assert caption_files(opened, job).made == 0 and len(records(job.output)) == 7 and not job.parts.exists()


def test_captions_whose_job_is_not_known_are_no_other_job_s(tiny_run, files, tmp_path):
    """Taken for those of this job, they would be merged into its output."""
    job = CaptionJob(files[0].parent, tmp_path / "out.jsonl", search={"beam_size": 1, "max_length": 4})
    job.parts.mkdir()
    (job.parts / "part-00000.jsonl").write_text('{"number": 0, "file": "other.npy", "caption": "of another job"}\n')
    for there, message in ((False, "job.json: missing"), (True, "output file exists already")):
        if there:
            job.output.write_text("of value")
        with pytest.raises(UserError, match=message):
            caption_files(load_run(tiny_run), job)
        assert job.output.exists() == there and (job.parts / "part-00000.jsonl").stat().st_size


def test_ctrl_c_keeps_what_was_done(call, tiny_run, files, long_list, tmp_path):
    output = tmp_path / "captions.jsonl"
    argv = command(tiny_run, long_list, output)
    process = forking.start(argv)
    wait_for_bytes([process], tmp_path / "captions.jsonl.parts", 1)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1].endswith("the same command resumes it\n") and process.returncode == 130
    other = call(*argv[2:], "--force-gate", 1)
    assert other.code == 2 and "force_gate was None, now it is 1.0" in other.err
    assert call(*argv[2:]).code == 0 and len(records(output)) == len(files) * REPEATS


def test_two_jobs_do_not_share_an_output(call, tiny_run, long_list, tmp_path):
    argv = command(tiny_run, long_list, tmp_path / "captions.jsonl")
    process = forking.start(argv)
    wait_for_bytes([process], tmp_path / "captions.jsonl.parts", 1)
    process.send_signal(signal.SIGSTOP)  # it shall not end before the second has begun
    second = call(*argv[2:])
    process.kill()
    process.wait()
    assert second.code == 2 and "another process is at work" in second.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no motion"),
        (["--data", "x"], "--output: is missing"),
        (["--output", "x.jsonl"], "--data: is missing"),
        (["m.npy", "--data", "x", "--output", "y.jsonl"], "not both"),
        (["--data", "x", "--output", "y.jsonl", "--json"], "--json: not with --data"),
        (["--data", "x", "--output", "y.jsonl", "--html", "z.html"], "--html: not with --data"),
        (["--data", "nowhere", "--output", "y.jsonl"], "nowhere: no such folder or file"),
        (["--data", ".", "--output", "y.jsonl", "--mean", "m.npy"], "--mean and --std"),
    ],
)
def test_mistakes_leave_nothing(options, message, refused, tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused("caption", tiny_run, *options)
    assert not any(tmp_path.iterdir())
