"""A skeleton of your own: its joints chosen and ordered, then captioned: python examples/custom_skeleton.py RUN."""

from __future__ import annotations

import sys

import numpy as np

from m2t_fast import load_run

# Ours (HumanML3D's 22, in order) <- names of your skeleton. KIT-ML's runs have 21: m2t_fast.skeleton lists both.
YOURS = (
    *("Pelvis", "L_Hip", "R_Hip", "Waist", "L_Knee", "R_Knee", "Chest", "L_Ankle", "R_Ankle", "Upper", "L_Toe"),
    *("R_Toe", "Neck", "L_Collar", "R_Collar", "Head", "L_Shoulder", "R_Shoulder", "L_Elbow", "R_Elbow"),
    *("L_Wrist", "R_Wrist"),
)


def reorder(joints: np.ndarray, names: list[str], centimetres: bool = True, z_up: bool = True) -> np.ndarray:
    """(T, J, 3) in your order, unit and axes -> (T, 22, 3) in metres with Y up."""
    chosen = joints[:, [names.index(name) for name in YOURS]]
    if z_up:
        chosen = chosen[..., [1, 2, 0]]
    return chosen / 100.0 if centimetres else chosen


def main(run: str, seconds: float = 2.0) -> None:
    rng = np.random.default_rng(0)
    names = [*rng.permutation(YOURS), "L_Thumb", "R_Thumb"]  # any order, and more joints than needed
    ours = np.cumsum(rng.normal(0, 0.3, (round(20 * seconds), 24, 3)), 0) + rng.uniform(0, 170, (1, 24, 3))
    print(load_run(run).caption(reorder(ours, names), fps=20.0))


if __name__ == "__main__":
    main(sys.argv[1])
