"""Run folders on the Hugging Face Hub, by huggingface_hub's own mixin (extra ``hub``)."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

from m2t_fast import run_folder
from m2t_fast.errors import UserError


@functools.cache
def on_hub() -> Any:
    """A run as huggingface_hub's mixin saves, uploads and downloads it; made when first used: it is an extra."""
    try:
        hub = importlib.import_module("huggingface_hub")
    except ModuleNotFoundError:
        raise UserError('huggingface_hub is not installed: pip install "m2t_fast[hub]"') from None

    mixin: Any = hub.ModelHubMixin

    class OnHub(mixin, library_name="m2t_fast", tags=["motion-captioning"]):  # type: ignore[misc, call-arg]
        def __init__(self, run: Any = None, folder: str = ""):
            self.run, self.folder = run, folder

        def _save_pretrained(self, save_directory: Path) -> None:
            run = self.run
            run_folder.write_run(
                save_directory, run.model, run.vocabulary, run.statistics, run.settings, training=run.training
            )

        @classmethod
        def _from_pretrained(cls, *, model_id: str, **options: Any) -> Any:
            known = ("revision", "cache_dir", "force_download", "local_files_only", "token")
            return cls(folder=hub.snapshot_download(model_id, **{name: options.get(name) for name in known}))

    return OnHub
