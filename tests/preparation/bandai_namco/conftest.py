"""A clone of the data set as far as a test needs one: synthetic motions in the skeleton of its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.data import synthetic
from m2t_fast.data.raw import RawMotion
from m2t_fast.motion.joint_names import JOINT_NAMES

# The hierarchy of the files: a joint and its children.
TREE = {
    "joint_Root": ["Hips"],
    "Hips": ["Spine", "UpperLeg_L", "UpperLeg_R"],
    "Spine": ["Chest"],
    "Chest": ["Neck", "Shoulder_L", "Shoulder_R"],
    "Neck": ["Head"],
    **{f"Shoulder_{s}": [f"UpperArm_{s}"] for s in "LR"},
    **{f"UpperArm_{s}": [f"LowerArm_{s}"] for s in "LR"},
    **{f"LowerArm_{s}": [f"Hand_{s}"] for s in "LR"},
    **{f"UpperLeg_{s}": [f"LowerLeg_{s}"] for s in "LR"},
    **{f"LowerLeg_{s}": [f"Foot_{s}"] for s in "LR"},
    **{f"Foot_{s}": [f"Toes_{s}"] for s in "LR"},
}
OURS = {
    **{"Hips": "pelvis", "Spine": "spine1", "Chest": "spine3", "Neck": "neck", "Head": "head"},
    **{
        f"{theirs}_{side[0].upper()}": f"{side}_{ours}"
        for side in ("left", "right")
        for theirs, ours in {
            **{"UpperLeg": "hip", "LowerLeg": "knee", "Foot": "ankle", "Toes": "foot", "Shoulder": "collar"},
            **{"UpperArm": "shoulder", "LowerArm": "elbow", "Hand": "wrist"},
        }.items()
    },
}


def write_take(path: Path, joints: np.ndarray, fps: float = 30.0) -> None:
    """Joints (T, 22, 3) in metres as a file in which every joint has position channels and nothing is turned."""
    lines, order = ["HIERARCHY"], []

    def node(name: str, depth: int) -> None:
        order.append(name)
        pad = "  " * depth
        lines.extend([f"{pad}{'ROOT' if depth == 0 else 'JOINT'} {name}", f"{pad}{{", f"{pad}  OFFSET 0 0 0"])
        lines.append(f"{pad}  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation")
        for child in TREE.get(name, []):
            node(child, depth + 1)
        if name not in TREE:
            lines.extend([f"{pad}  End Site", f"{pad}  {{", f"{pad}    OFFSET 0 5 0", f"{pad}  }}"])
        lines.append(f"{pad}}}")

    node("joint_Root", 0)
    parent = {child: name for name, children in TREE.items() for child in children}
    names = JOINT_NAMES["humanml3d"]
    place = {name: joints[:, names.index(OURS[name])] * 100.0 for name in OURS}
    place["joint_Root"] = np.zeros_like(place["Hips"])
    columns = []
    for name in order:
        columns += [place[name] - place[parent[name]] if name in parent else place[name], np.zeros((len(joints), 3))]
    rows = np.concatenate(columns, axis=1)
    lines += ["MOTION", f"Frames: {len(joints)}", f"Frame Time: {1.0 / fps:.6f}"]
    lines += [" ".join(f"{value:.6f}" for value in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")


def _label(motion: RawMotion) -> str | None:
    """What the data set would call a synthetic motion of one action."""
    (segment,) = motion.segments or ()
    arms = [part.removesuffix("_arm") for part in segment.parts if part.endswith("_arm")]
    hands = "both-hands" if len(arms) == 2 else f"{arms[0]}-hand" if arms else ""
    words = " ".join(caption.text for caption in motion.captions)
    side = "left" if "left" in words else "right"
    return {
        "walk": "walk-back" if "back" in words else "walk",
        **{"run": "run", "bow": "bow", "kick": "kick", "punch": "punch", "turn": f"walk-turn-{side}"},
        **{"wave": f"wave-{hands}", "raise": f"raise-up-{hands}"},
    }.get(segment.action.split()[0])


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small clone, with a few files that cannot be used."""
    folder = tmp_path_factory.mktemp("clone")
    raw = synthetic.generate({"train": 200}, seed=5).splits["train"]
    single = [motion for motion in raw if motion.segments and len(motion.segments) == 1]
    number = 101  # below, the names of real files that the recipe knows
    for motion in single:
        if (content := _label(motion)) is not None:
            group = 1 if content in ("kick", "punch", "bow") else 2
            data = folder / "dataset" / f"Bandai-Namco-Research-Motiondataset-{group}" / "data"
            data.mkdir(parents=True, exist_ok=True)
            style = ("normal", "feminine", "active")[number % 3]
            write_take(data / f"dataset-{group}_{content}_{style}_{number:03d}.bvh", motion.joints, fps=20.0)
            number += 1
    (data.parent / "LICENSE").write_text("Attribution-NonCommercial 4.0 International\n")
    (data / "dataset-2_walk_normal_997.bvh").write_text("")
    write_take(data / "dataset-2_wave-left-hand_normal_998.bvh", np.repeat(single[0].joints[:1], 60, axis=0))
    write_take(data / "dataset-2_swim_normal_999.bvh", single[0].joints)
    return folder


@pytest.fixture(scope="session")
def take_writer() -> Callable[..., None]:
    """``take_writer(path, joints, fps=30)`` writes a file of the data set."""
    return write_take
