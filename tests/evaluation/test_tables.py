"""Tables of scores: columns, the best of several, characters that Markdown and LaTeX would take for their own."""

from __future__ import annotations

import dataclasses
import re

from m2t_fast.evaluation import Row, Table

SCORES = {"bleu_1": 58.4, "bleu_4": 24.4, "rouge_l": 58.3, "cider": 112.1, "bert_score": 41.2}
ROW = Row("guided", 2.0, 3.0, 1, None, 830, 1660, SCORES)
OTHER = dataclasses.replace(
    ROW, model="plain_0|x", lambda_spat=0.0, lambda_adapt=None, scores={**SCORES, "bleu_4": 24.401, "cider": 109.9}
)


def table(*rows: Row) -> Table:
    return Table("kit", "test", "raw", "test split of a_b & c: 100% raw", rows)


def test_plain_columns() -> None:
    lines = table(ROW, OTHER).plain().splitlines()
    assert lines[0].split() == (
        ["Dataset", "Model", "lambda_spat", "lambda_adapt", "Beam", "BLEU@1", "BLEU@4", "ROUGE-L", "CIDEr", "BERTScore"]
    )
    assert lines[1].split() == ["kit", "guided", "2", "3", "1", "58.40", "24.40", "58.30", "112.10", "41.20"]
    assert lines[2].split() == ["kit", "plain_0|x", "0", "-", "1", "58.40", "24.40", "58.30", "109.90", "41.20"]
    assert len({len(line) for line in lines}) == 1


def test_scores_that_were_left_out() -> None:
    short = dataclasses.replace(ROW, scores={"bleu_1": 1.0, "bleu_4": 0.5})
    assert table(short).plain().split()[-7:] == ["kit", "guided", "2", "3", "1", "1.00", "0.50"]
    assert table(short, ROW).plain().splitlines()[1].split()[-3:] == ["-", "-", "-"]


def test_the_gate_has_a_column_where_one_is_forced() -> None:
    forced = dataclasses.replace(ROW, force_gate=1.0)
    lines = table(forced, ROW).plain().splitlines()
    assert [line.split()[5] for line in lines] == ["gate", "1", "adaptive"]
    assert r"$\hat{\beta}$" in table(forced, ROW).latex() and r"\hat" not in table(ROW).latex()


def test_markdown() -> None:
    text = table(ROW, OTHER).markdown()
    head, rule, first, second, _, protocol = text.splitlines()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in (head, rule, first, second)}) == 1
    assert "**112.10**" in first and "**109.90**" not in second
    assert "**24.40**" in first and "**24.40**" in second  # equal as printed
    assert r"plain\_0\|x" in second
    assert protocol == r"test split of a\_b & c: 100% raw"
    assert "**" not in table(ROW).markdown()


def test_latex() -> None:
    lines = table(ROW, OTHER).latex().splitlines()
    assert lines[0] == "% test split of a_b & c: 100% raw"
    assert lines[1] == r"\begin{tabular}{llrrrrrrrr}" and lines[-1] == r"\end{tabular}"
    rows = [line for line in lines[2:] if line.endswith(r"\\") and "multicolumn" not in line]
    assert [row.count("&") for row in rows] == [9, 9, 9]
    assert rows[1].startswith("kit & guided & 2 & 3 & 1 & ") and r"\textbf{112.10}" in rows[1]
    assert r"plain\_0\textbar{}x" in rows[2]
    assert r"\multicolumn{10}{l}{\footnotesize test split, text raw} \\" in lines
    odd = dataclasses.replace(ROW, model="100%_{a}~b^c\\d#$&<e>")
    assert (
        r"100\%\_\{a\}\textasciitilde{}b\textasciicircum{}c\textbackslash{}d\#\$\&\textless{}e\textgreater{}"
        in table(odd).latex()
    )


def test_no_best_where_rows_are_of_different_motions() -> None:
    rows = (ROW, dataclasses.replace(OTHER, references=1500))
    assert not table(*rows).same_motions
    assert "**" not in table(*rows).markdown() and "textbf" not in table(*rows).latex()


def test_json() -> None:
    content = ROW.to_dict()
    assert content.pop("model") == "guided" and content.pop("force_gate") is None
    assert (
        content
        == {"lambda_spat": 2.0, "lambda_adapt": 3.0, "beam_size": 1, "motions": 830, "references": 1660} | SCORES
    )
