"""What the commands that score captions share: which scores, on which text, and by which networks."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2t_fast.errors import UserError

if TYPE_CHECKING:
    import torch

    from m2t_fast.evaluation.scored_runs import Files, Report, Result
    from m2t_fast.skeleton import Skeleton


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options --text, --bert-model and --evaluator."""
    parser.add_argument(
        "--text",
        choices=("raw", "processed"),
        default="raw",
        help="compare captions as written, or in the lemmatised tokens of the text files as TM2T does; scores of one "
        "and of the other cannot be compared (%(default)s)",
    )
    parser.add_argument(
        "--bert-model",
        type=Path,
        metavar="FOLDER",
        help="add BERTScore with the transformers model in this folder (the paper's is roberta-large)",
    )
    parser.add_argument(
        "--evaluator",
        type=Path,
        metavar="FOLDER",
        help="add R-precision and MM-Dist with the public text-to-motion networks in this folder (docs/evaluation.md); "
        "the data folder must have new_joint_vecs/",
    )


@dataclass(frozen=True)
class Scorers:
    """What the options ask for, opened; ``arguments`` are those of ``score_captions``."""

    arguments: dict[str, Any]
    without_bert: str | None

    @classmethod
    def of(cls, args: argparse.Namespace, skeleton: Skeleton, device: torch.device) -> Scorers:
        """The scorers for motions of ``skeleton``.

        Raises:
            UserError: a model or a file is missing or unreadable.
        """
        from m2t_fast.evaluation.bert import HOW_TO_GET_IT, BertScorer, why_unavailable
        from m2t_fast.evaluation.lemmas import learn_lemmas
        from m2t_fast.evaluation.matching import Evaluator

        if args.evaluator is not None and str(args.data) == "synthetic":
            raise UserError("--evaluator: not with --data synthetic, which has no feature vectors (new_joint_vecs/)")
        without_bert = None if args.bert_model else f"no --bert-model FOLDER; {HOW_TO_GET_IT}"
        without_bert = without_bert or why_unavailable()
        arguments = {
            "bert": None if without_bert else BertScorer(args.bert_model, device),
            "lemmas": None if args.text == "raw" else learn_lemmas(args.data, skeleton.joints),
            "evaluator": None if args.evaluator is None else Evaluator(args.evaluator, skeleton, args.data),
        }
        return cls(arguments, without_bert)

    def report(self, args: argparse.Namespace, search: dict[str, Any], results: list[Result]) -> Report:
        """The report of results, with why scores are missing."""
        from m2t_fast.evaluation.scored_runs import Report

        scored = results[0].rows[0].scores
        left_out = {} if "cider" in scored else {"ROUGE-L and CIDEr": "pip install 'm2t_fast[eval]'"}
        left_out |= {"BERTScore": self.without_bert} if self.without_bert else {}
        bert, evaluator = self.arguments["bert"], self.arguments["evaluator"]
        return Report(
            *(str(args.data), args.split, args.text, search),
            bert=bert and bert.describe(),
            left_out=left_out,
            results=results,
            matching=evaluator and evaluator.describe(),
        )


def write(report: Report, files: Files) -> str:
    """Writes the files of a report; the line that says where they are."""
    predictions, *others = report.write(files)
    return f"predictions in {predictions}; {', '.join(path.name for path in others)} beside them"
