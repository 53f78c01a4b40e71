"""Captions of a folder of motion files and a page to look at: python examples/caption_folder.py RUN FOLDER."""

from __future__ import annotations

import sys
from pathlib import Path

from m2t_fast import load_run
from m2t_fast.interpretation import save_page


def main(run: str, folder: str) -> None:
    captions = load_run(run).caption(folder)
    for caption in captions:
        words = ", ".join(
            f"{word.text} {word.start:.1f}-{word.end:.1f} s" for word in caption.words if word.gate >= 0.5
        )
        print(f"{Path(caption.name).name}: {caption.text} ({words or 'no motion word'})")
    print(save_page(Path(folder) / "captions.html", [caption.motion for caption in captions], about=f"Run {run}"))


if __name__ == "__main__":
    main(*sys.argv[1:])
