"""A captioner opened by name, saved and uploaded together with what belongs to its weights."""

from __future__ import annotations

import dataclasses
import importlib
from os import PathLike
from pathlib import Path
from typing import Any, Self

import torch


class Pretrained:
    """Opens and saves run folders, as :class:`~m2t_fast.inference.CaptioningRun` does."""

    opened: Any = None
    """The run that :meth:`from_pretrained` opened: vocabulary, statistics and settings."""

    @classmethod
    def from_pretrained(cls, name: str | PathLike[str], device: str | torch.device = "cpu", **download: Any) -> Self:
        """The model of a run folder, or of a repository "OWNER/NAME" on the Hugging Face Hub (extra ``hub``).

        Raises:
            UserError: no run folder, a damaged one, or huggingface_hub is not installed.
        """
        # By its public name: a run stands above the model that it holds.
        run = importlib.import_module("m2t_fast").CaptioningRun.from_pretrained(name, device, **download)
        model: Any = run.model
        model.opened = run
        return model

    def save_pretrained(self, folder: str | PathLike[str]) -> Path:
        """Write a new run folder with the weights as they are now.

        Raises:
            UserError: the folder exists, or a weight is not finite. RuntimeError: no vocabulary is known.
        """
        path: Path = self._as_run().save_pretrained(folder)
        return path

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the run folder; see :meth:`m2t_fast.inference.CaptioningRun.push_to_hub`."""
        address: str = self._as_run().push_to_hub(repo_id, **options)
        return address

    def _as_run(self) -> Any:
        if self.opened is None:
            raise RuntimeError(
                "this model knows no vocabulary and no statistics, which a run folder holds; expected one that "
                "from_pretrained opened: use run.save_pretrained of the run that it belongs to"
            )
        return dataclasses.replace(self.opened, model=self)
