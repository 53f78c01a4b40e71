"""Scores of one or several runs as a table: for the terminal, in Markdown, in LaTeX and as JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from m2t_fast.visible import visible_line

COLUMNS: dict[str, str] = {
    "bleu_1": "BLEU@1",
    "bleu_4": "BLEU@4",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "bert_score": "BERTScore",
    "r_precision_1": "R@1",
    "r_precision_2": "R@2",
    "r_precision_3": "R@3",
    "mm_dist": "MM-Dist",
}
"""Scores and their names in the paper, in the order of its table 2; then those of the matching networks."""

_LOWER_IS_BETTER = frozenset(("mm_dist",))

TEXTS: dict[str, str] = {
    "raw": "captions as written, lower case, without punctuation",
    "processed": "lemmatised tokens of the text files, as TM2T; predictions lemmatised likewise",
}
"""What ``--text`` compares."""


@dataclass(frozen=True)
class Row:
    """One run, searched in one way, or the captions of another model, and its scores.

    ``model`` names the run; ``lambda_spat`` and ``lambda_adapt`` are those it was trained with, None where it does not
    say; ``beam_size`` is None where it is not known; ``force_gate`` is None for the model's own gate; ``motions`` and
    ``references`` count what it was scored on.
    """

    model: str
    lambda_spat: float | None
    lambda_adapt: float | None
    beam_size: int | None
    force_gate: float | None
    motions: int
    references: int
    scores: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, scores on the same level."""
        return {**{name: value for name, value in vars(self).items() if name != "scores"}, **self.scores}


@dataclass(frozen=True)
class Table:
    """Rows on the same data; ``dataset`` is its short name, ``text`` a key of ``TEXTS``, and ``protocol`` says in a
    sentence what was compared."""

    dataset: str
    split: str
    text: str
    protocol: str
    rows: Sequence[Row]

    @property
    def same_motions(self) -> bool:
        """Whether every row was scored on equally many motions and references."""
        return len({(row.motions, row.references) for row in self.rows}) == 1

    def plain(self) -> str:
        """Columns aligned for a terminal."""
        head, cells = self._cells(("lambda_spat", "lambda_adapt", "gate"))
        texts = [head, *([text for text, _ in row] for row in cells)]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        lines = []
        for row in texts:
            names = [text.ljust(width) for text, width in zip(row[:2], widths[:2], strict=True)]
            numbers = [text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True)]
            lines.append("  ".join(names + numbers))
        return "\n".join(lines)

    def markdown(self) -> str:
        """A pipe table; the best of several is bold; the protocol stands below."""
        head, cells = self._cells(("λ_spat", "λ_adapt", "gate"))
        lines = [_piped(head), _piped(["---"] * 2 + ["---:"] * (len(head) - 2))]
        for row in cells:
            texts = [(escape_markdown(text), best) for text, best in row]
            lines.append(_piped([f"**{text}**" if best else text for text, best in texts]))
        return "\n".join(lines) + f"\n\n{escape_markdown(self.protocol)}\n"

    def latex(self) -> str:
        r"""A ``tabular`` that needs no package, one row per line; split and text below, the protocol as a comment."""
        head, cells = self._cells((r"$\lambda_{spat}$", r"$\lambda_{adapt}$", r"$\hat{\beta}$"))
        top = [f"% {visible_line(self.protocol)}", rf"\begin{{tabular}}{{ll{'r' * (len(head) - 2)}}}", r"\hline"]
        lines = [*top, " & ".join(head) + r" \\", r"\hline"]
        for row in cells:
            lines.append(" & ".join(rf"\textbf{{{_tex(text)}}}" if best else _tex(text) for text, best in row) + r" \\")
        note = rf"\multicolumn{{{len(head)}}}{{l}}{{\footnotesize {_tex(f'{self.split} split, text {self.text}')}}} \\"
        return "\n".join([*lines, r"\hline", note, r"\end{tabular}", ""])

    def _cells(self, names: tuple[str, str, str]) -> tuple[list[str], list[list[tuple[str, bool]]]]:
        """The head, and per row its cells with whether each is the best of its column; ``names`` of the two lambdas and
        of the gate. The gate's column is there where one is forced."""
        gates = any(row.force_gate is not None for row in self.rows)
        found = [name for name in COLUMNS if any(name in row.scores for row in self.rows)]
        best = {}
        for name in found:
            values = [round(row.scores[name], 2) for row in self.rows if name in row.scores]
            best[name] = min(values) if name in _LOWER_IS_BETTER else max(values)
        mark = len(self.rows) > 1 and self.same_motions
        rows = []
        for row in self.rows:
            gate = [] if not gates else ["adaptive" if row.force_gate is None else f"{row.force_gate:g}"]
            about = [
                visible_line(self.dataset),
                visible_line(row.model),
                _number(row.lambda_spat),
                _number(row.lambda_adapt),
                _number(row.beam_size),
            ]
            scores = [
                (f"{row.scores[name]:.2f}", mark and round(row.scores[name], 2) == best[name])
                if name in row.scores
                else ("-", False)
                for name in found
            ]
            rows.append([(text, False) for text in about + gate] + scores)
        gate_name = [names[2]] if gates else []
        return ["Dataset", "Model", *names[:2], "Beam", *gate_name, *(COLUMNS[name] for name in found)], rows


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, also in the cell of a table."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", visible_line(text))


_TEX = {
    **{letter: rf"\{letter}" for letter in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in visible_line(text))
