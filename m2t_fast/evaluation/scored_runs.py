"""Runs scored on one split by one protocol: what is printed, and which files are written."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2t_fast._version import __version__
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.faults import Fault, count_left_out, in_words
from m2t_fast.errors import UserError
from m2t_fast.evaluation.bert import BertScorer
from m2t_fast.evaluation.gates import compare_gates, format_gates, gates_markdown
from m2t_fast.evaluation.lemmas import Lemmas
from m2t_fast.evaluation.matching import Evaluator
from m2t_fast.evaluation.scores import evaluate, json_lines
from m2t_fast.evaluation.tables import COLUMNS, TEXTS, Row, Table, escape_markdown
from m2t_fast.files import atomic_path, encoded, resolved
from m2t_fast.run_folder import Run
from m2t_fast.wording import counted

FORMAT = "m2t_fast scores"
NAMES: tuple[str, ...] = (
    *("predictions.jsonl", "gate_comparison.jsonl", "scores.md", "scores.tex", "gate_comparison.md", "scores.json"),
)
"""Files of a report; those of the gates are there where one was forced."""


@dataclass(frozen=True)
class Files:
    """Where a report goes: into ``folder``, each file's name after ``prefix``."""

    folder: Path
    prefix: str = ""

    @classmethod
    def of(cls, output: Path) -> Files:
        """A folder, or the predictions' own file, ``NAME.jsonl``, beside which the others are ``NAME.scores.json`` and
        so on.

        Raises:
            UserError: a file of another kind.
        """
        if output.suffix == ".jsonl" and not output.is_dir():
            return cls(output.parent, f"{output.stem}.")
        if output.is_file():
            raise UserError(f"{output}: a file, expected a folder or a name ending in .jsonl")
        return cls(output)

    def all(self) -> list[Path]:
        """What may be written: every file, or a folder that is still missing."""
        return [self.path(name) for name in NAMES] if self.prefix or self.folder.exists() else [self.folder]

    def path(self, name: str) -> Path:
        """The place of the file that is usually called ``name``."""
        own = self.prefix and name == "predictions.jsonl"
        return self.folder / (f"{self.prefix}jsonl" if own else f"{self.prefix}{name}")


@dataclass(frozen=True)
class Result:
    """One run with one beam size: its row (two where a gate is forced, the forced one first), the records of the
    captions (see :func:`m2t_fast.evaluation.evaluate`), the comparison of gates, and what of the split could not be
    used."""

    run: Path
    rows: list[Row]
    records: list[dict[str, Any]]
    comparison: list[dict[str, Any]]
    faults: tuple[Fault, ...] = ()

    @property
    def title(self) -> str:
        """The run's name and its beam size."""
        beam = self.rows[0].beam_size
        return self.rows[0].model + ("" if beam is None else f", beam size {beam}")


def evaluate_run(
    run: Run,
    dataset: MotionDataset,
    *,
    beam_sizes: Sequence[int] = (1,),
    force_gate: float | None = None,
    lemmas: Lemmas | None = None,
    bert: BertScorer | None = None,
    evaluator: Evaluator | None = None,
    name: str | None = None,
    **options: Any,
) -> list[Result]:
    """Scores of a run with each beam size and, where a gate is forced, with the model's own gate as well.

    ``name`` is what the table calls the run (None: the name of its folder); the rest as in
    :func:`m2t_fast.evaluation.evaluate`.
    """
    results = []
    for beam_size in beam_sizes:
        rows: list[Row] = []
        found: list[list[dict[str, Any]]] = []
        for gate in (force_gate,) if force_gate is None else (force_gate, None):
            scores, records = evaluate(
                run,
                dataset,
                lemmas=lemmas,
                bert=bert,
                evaluator=evaluator,
                beam_size=beam_size,
                force_gate=gate,
                **options,
            )
            found.append(records)
            rows.append(
                Row(
                    model=name or resolved(run.folder).name,
                    **run.guidance,
                    beam_size=beam_size,
                    force_gate=gate,
                    motions=dataset.motions,
                    references=sum(len(record["references"]) for record in records),
                    scores=scores,
                )
            )
        comparison = [] if force_gate is None else compare_gates(found[0], found[1], force_gate)

        results.append(Result(run.folder, rows, found[0], comparison, dataset.faults))
    return results


@dataclass(frozen=True)
class Report:
    """Results on one split.

    ``text`` is a key of ``TEXTS``; ``search`` the options that all results share; ``bert`` describes the model behind
    BERTScore, None without, and ``matching`` the networks behind R-precision; ``left_out`` says by score why it is
    missing and how to get it.
    """

    data: str
    split: str
    text: str
    search: dict[str, Any]
    bert: str | None
    left_out: dict[str, str]
    results: list[Result]
    matching: str | None = None

    def only(self, run: Path) -> Report:
        """The results of one run."""
        return dataclasses.replace(self, results=[result for result in self.results if result.run == run])

    @property
    def table(self) -> Table:
        """All rows."""
        name = self.data if self.data == "synthetic" else resolved(self.data).name
        return Table(
            name, self.split, self.text, self.protocol, [row for result in self.results for row in result.rows]
        )

    @property
    def protocol(self) -> str:
        """What was compared, in one sentence: scores by different protocols cannot be compared."""
        counts = sorted({(row.motions, row.references) for result in self.results for row in result.rows})
        numbers = " or ".join(
            f"{counted(motions, 'motion')}, {counted(references, 'reference')}" for motions, references in counts
        )
        sentence = f"{self.split} split of {self.data}: {numbers}; text {self.text}: {TEXTS[self.text]}"
        if self.search.get("search") == "best_first" and any(
            (result.rows[0].beam_size or 1) > 1 for result in self.results
        ):
            sentence += "; best-first search as the released code"
        if faults := self.results[0].faults:
            sentence += f"; left out as unusable: {in_words(faults)}"
        if len(counts) > 1:
            sentence += "; rows differ in motions because the filters of their runs do, so they cannot be compared"
        if self.bert is not None:
            sentence += f"; BERTScore by {self.bert}"
        return sentence if self.matching is None else f"{sentence}; {self.matching}"

    def printed(self) -> str:
        """For a terminal: the protocol, the scores (one row: a line per score), comparisons of gates, gaps."""
        rows = self.table.rows
        lines = [self.protocol]
        if len(rows) == 1:
            row = rows[0]
            weights = {"lambda_spat": row.lambda_spat, "lambda_adapt": row.lambda_adapt}
            known = [f"{name} {value:g}" for name, value in weights.items() if value is not None]
            if row.beam_size is not None:
                known.append("greedy search" if row.beam_size == 1 else f"beam size {row.beam_size}")
            lines.append(", ".join([f"model {row.model}", *known]))
            lines += [f"{name:<12}{row.scores[name]:6.2f}" for name in COLUMNS if name in row.scores]
        else:
            lines.append(self.table.plain())
        for result in self.results:
            if result.comparison:
                lines.append(f"{result.title}: {format_gates(result.comparison)}")
        return "\n".join([*lines, *(f"{name} left out: {reason}" for name, reason in self.left_out.items())])

    def to_dict(self) -> dict[str, Any]:
        """The content of ``scores.json``."""
        return {
            "format": FORMAT,
            "version": __version__,
            "data": self.data,
            "split": self.split,
            "text": self.text,
            "protocol": self.protocol,
            **self.search,
            "bert_model": self.bert,
            "left_out": self.left_out,
            "unusable": count_left_out(self.results[0].faults),
            "rows": [{"run": str(result.run), **row.to_dict()} for result in self.results for row in result.rows],
        }

    def write(self, files: Files) -> list[Path]:
        """Writes all files, or none, and returns them, the predictions first; the folder is made if it is missing.

        Where there are several results, each record of ``predictions.jsonl`` and of ``gate_comparison.jsonl`` also
        names its ``run`` and ``beam_size``.

        Raises:
            UserError: a file cannot be written.
        """
        try:
            files.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"{files.folder}: cannot write: {error.strerror or error}") from None
        records = [{**self._source(r), **record} for r in self.results for record in r.records]
        texts = {"predictions.jsonl": json_lines(records)}
        if any(result.comparison for result in self.results):
            entries = [{**self._source(r), **entry} for r in self.results for entry in r.comparison]
            sections = [f"## {escape_markdown(r.title)}\n\n{gates_markdown(r.comparison)}" for r in self.results]
            texts |= {"gate_comparison.jsonl": json_lines(entries), "gate_comparison.md": "\n".join(sections)}
        texts |= {"scores.md": self.table.markdown(), "scores.tex": self.table.latex()}
        texts["scores.json"] = json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"
        with ExitStack() as stack:  # all are written before the first takes its place
            for name, text in texts.items():
                stack.enter_context(atomic_path(files.path(name))).write_bytes(encoded(text))
        return [files.path(name) for name in texts]

    def _source(self, result: Result) -> dict[str, Any]:
        several = len(self.results) > 1
        return {"run": str(result.run), "beam_size": result.rows[0].beam_size} if several else {}
