"""The licence of the motions, stated in every folder made of them."""

from __future__ import annotations

from pathlib import Path

from m2t_fast.preparation.bandai_namco.takes import URL

LICENCE = "CC BY-NC 4.0"

NOTICE = f"""Motions of the Bandai-Namco-Research-Motiondataset ({URL}),
Copyright (c) 2022 Bandai Namco Research Inc., licensed under the Creative Commons Attribution-NonCommercial 4.0
International licence ({LICENCE}, https://creativecommons.org/licenses/by-nc/4.0/). This folder, made of them, is
under the same licence.

Changed by m2t-fast prepare --source bandai-namco: joints computed from the rotations, 22 of them by SMPL's names;
30 frames per second, resampled to 20; takes cut to clips, some joined in twos, some mirrored; every clip placed on the
floor at the origin, facing +Z. Captions are made by a program from the labels and from what was measured on the motion.

M. Kobayashi, C.-C. Liao, K. Inoue, S. Yojima, M. Takahashi: Motion Capture Dataset for Practical Use of AI-based Motion
Editing and Stylization. arXiv:2306.08861, 2023.
"""


def write_notice(folder: Path, clone: Path) -> None:
    """Writes the notice, and the licence's text as the clone has it, to ``LICENSE`` in the folder."""
    text = NOTICE
    found = sorted(path for path in clone.rglob("LICENSE") if "Motiondataset" in path.parent.name)
    if found:
        text += f"\n{'-' * 80}\n\n{found[0].read_text(encoding='utf-8', errors='replace').strip()}\n"
    (folder / "LICENSE").write_text(text, encoding="utf-8")
