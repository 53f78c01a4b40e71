"""What the motion tests share: a writer of .bvh files, skeletons named as four sources name them, and features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from m2t_fast.data import synthetic
from m2t_fast.skeleton import skeleton_of

# Centimetres, T-pose, Y up, facing +Z, the left side at +X: (parent, joint, offset). "_" stands for the side.
TREES: dict[str, list[tuple[str, str, tuple[float, float, float]]]] = {
    "Mixamo": [
        ("", "Hips", (0, 95, 0)), ("Hips", "Spine", (0, 10, -1)), ("Spine", "Spine1", (0, 12, 0)),
        ("Spine1", "Spine2", (0, 13, 0)), ("Spine2", "Neck", (0, 16, 1)), ("Neck", "Head", (0, 9, 2)),
        ("Head", "HeadTop_End", (0, 18, 0)), ("Spine2", "_Shoulder", (6, 12, 0)), ("_Shoulder", "_Arm", (11, 0, -1)),
        ("_Arm", "_ForeArm", (27, 0, 0)), ("_ForeArm", "_Hand", (26, 0, 0)), ("_Hand", "_HandIndex1", (9, 0, 2)),
        ("Hips", "_UpLeg", (9, -6, 0)), ("_UpLeg", "_Leg", (0, -41, 0)), ("_Leg", "_Foot", (0, -42, 0)),
        ("_Foot", "_ToeBase", (0, -6, 13)), ("_ToeBase", "_Toe_End", (0, 0, 8)),
    ],
    "LaFAN1": [
        ("", "Hips", (0, 95, 0)), ("Hips", "_UpLeg", (10, 0, 1)), ("_UpLeg", "_Leg", (0, -43, 0)),
        ("_Leg", "_Foot", (0, -42, 0)), ("_Foot", "_Toe", (0, -7, 14)), ("Hips", "Spine", (0, 7, 0)),
        ("Spine", "Spine1", (0, 12, 0)), ("Spine1", "Spine2", (0, 12, 0)), ("Spine2", "Neck", (0, 25, 0)),
        ("Neck", "Head", (0, 10, 1)), ("Spine2", "_Shoulder", (3, 20, 0)), ("_Shoulder", "_Arm", (12, 0, 0)),
        ("_Arm", "_ForeArm", (30, 0, 0)), ("_ForeArm", "_Hand", (25, 0, 0)),
    ],
    "CMU": [
        ("", "Hips", (0, 95, 0)), ("Hips", "_HipJoint", (0, 0, 0)), ("_HipJoint", "_UpLeg", (9, -9, 4)),
        ("_UpLeg", "_Leg", (0, -42, 0)), ("_Leg", "_Foot", (0, -41, 0)), ("_Foot", "_ToeBase", (0, -3, 13)),
        ("Hips", "LowerBack", (0, 0, 0)), ("LowerBack", "Spine", (0, 13, 0)), ("Spine", "Spine1", (0, 13, -1)),
        ("Spine1", "Neck", (0, 0, 0)), ("Neck", "Neck1", (0, 9, 1)), ("Neck1", "Head", (0, 9, 1)),
        ("Spine1", "_Shoulder", (0, 0, 0)), ("_Shoulder", "_Arm", (18, 5, 0)), ("_Arm", "_ForeArm", (28, 0, 0)),
        ("_ForeArm", "_Hand", (20, 0, 0)), ("_Hand", "_FingerBase", (0, 0, 0)),
    ],
    "Bandai-Namco": [
        ("", "joint_Root", (0, 0, 0)), ("joint_Root", "Hips", (0, 95, 0)), ("Hips", "Spine", (0, 12, 0)),
        ("Spine", "Chest", (0, 13, 0)), ("Chest", "Neck", (0, 25, 0)), ("Neck", "Head", (0, 9, 2)),
        ("Chest", "Shoulder_", (4, 18, 0)), ("Shoulder_", "UpperArm_", (13, 0, 0)),
        ("UpperArm_", "LowerArm_", (28, 0, 0)), ("LowerArm_", "Hand_", (25, 0, 0)),
        ("Hips", "UpperLeg_", (9, -5, 0)), ("UpperLeg_", "LowerLeg_", (0, -40, 0)),
        ("LowerLeg_", "Foot_", (0, -42, 0)), ("Foot_", "Toes_", (0, -7, 13)),
    ],
}  # fmt: skip
TIP = (0.0, -1.0, 7.0)  # End Sites, centimetres


class Node(NamedTuple):
    """A joint to be written: ``children`` are found by ``parent``."""

    name: str
    parent: str
    offset: np.ndarray


class Body(NamedTuple):
    """A skeleton with its End Sites, and the matrices that tests move it by."""

    nodes: list[Node]

    def leaves(self) -> list[Node]:
        parents = {node.parent for node in self.nodes}
        return [node for node in self.nodes if node.name not in parents]


def body_of(source: str) -> Body:
    """The skeleton of one source, both sides, in centimetres."""

    def sided(name: str, side: str) -> str:
        if source == "Bandai-Namco":
            return name + side[0] if name.endswith("_") else name
        return name.replace("_", side, 1) if name.startswith("_") else name

    nodes = []
    for parent, name, (x, y, z) in TREES[source]:
        if sided(name, "Left") == name:
            nodes.append(Node(name, parent, np.array([x, y, z], float)))
        else:
            for side, sign in (("Left", 1), ("Right", -1)):
                nodes.append(Node(sided(name, side), sided(parent, side), np.array([sign * x, y, z], float)))
    return Body(nodes)


def turn(axis: str, degrees: float) -> np.ndarray:
    """Rodrigues' formula, written down once more."""
    unit = np.eye(3)["XYZ".index(axis)]
    cross = np.array([[0, -unit[2], unit[1]], [unit[2], 0, -unit[0]], [-unit[1], unit[0], 0]])
    angle = degrees * np.pi / 180
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def kinematics(
    body: Body, angles: dict[str, list[tuple[str, float]]], places: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Where the nodes of one frame are: ``angles`` in the order of the product, ``places`` relative to the parent."""
    matrices, found = {"": np.eye(4)}, {}
    todo = list(body.nodes)
    while todo:
        node = todo.pop(0)
        if node.parent not in matrices:
            todo.append(node)
            continue
        local = np.eye(4)
        for axis, degrees in angles.get(node.name, []):
            local[:3, :3] = local[:3, :3] @ turn(axis, degrees)
        local[:3, 3] = places.get(node.name, node.offset)
        matrices[node.name] = matrices[node.parent] @ local
        found[node.name] = matrices[node.name][:3, 3]
    for node in body.leaves():
        found[f"{node.name}.end"] = (matrices[node.name] @ np.array([*TIP, 1.0]))[:3]
    return found


def write_bvh(
    path: Path,
    body: Body,
    orders: dict[str, str],
    angles: list[dict[str, list[tuple[str, float]]]],
    places: list[dict[str, np.ndarray]],
    fps: float = 30.0,
    rename: Callable[[str], str] = str,
    scale: float = 1.0,
) -> Path:
    """A file with frames ``angles`` and ``places``; ``orders`` are the rotation channels of a joint ("ZXY")."""
    children: dict[str, list[Node]] = {}
    for node in body.nodes:
        children.setdefault(node.parent, []).append(node)
    lines, order = ["HIERARCHY"], []

    def numbers(values: np.ndarray) -> str:
        return " ".join(f"{value:.9f}" for value in values)

    def write(node: Node, depth: int) -> None:
        pad = "\t" * depth
        order.append(node)
        lines.append(f"{pad}{'JOINT' if node.parent else 'ROOT'} {rename(node.name)}")
        lines.append(pad + "{")
        lines.append(f"{pad}\tOFFSET {numbers(node.offset * scale)}")
        channels = ["Xposition", "Yposition", "Zposition"] if node.name in places[0] else []
        channels += [f"{axis}rotation" for axis in orders.get(node.name, "")]
        lines.append(f"{pad}\tCHANNELS {len(channels)} {' '.join(channels)}")
        for child in children.get(node.name, []):
            write(child, depth + 1)
        if node.name not in children:
            lines.extend([f"{pad}\tEnd Site", pad + "\t{", f"{pad}\t\tOFFSET {numbers(np.array(TIP) * scale)}"])
            lines.append(pad + "\t}")
        lines.append(pad + "}")

    write(body.nodes[0], 0)
    lines += ["MOTION", f"Frames: {len(angles)}", f"Frame Time: {1 / fps:.7f}"]
    for turned, placed in zip(angles, places, strict=True):
        row: list[float] = []
        for node in order:
            row += [] if node.name not in placed else list(placed[node.name] * scale)
            row += [degrees for _, degrees in turned.get(node.name, [])]
        lines.append(" ".join(f"{value:.9f}" for value in row))
    path.write_text("\n".join(lines) + "\n")
    return path


class Written(NamedTuple):
    """A .bvh file and where its nodes are, by name: (T, 3) centimetres."""

    path: Path
    nodes: dict[str, np.ndarray]


@pytest.fixture
def make_bvh(tmp_path: Path) -> Callable[..., Written]:
    """``make_bvh(source, frames=12, fps=30, rename=str, scale=1, seed=0, name="motion.bvh", drop=())``: somebody who
    walks forward and swings the limbs, with a rotation order of its own for every joint."""

    def make(
        source: str,
        frames: int = 12,
        fps: float = 30.0,
        rename: Callable[[str], str] = str,
        scale: float = 1.0,
        seed: int = 0,
        name: str = "motion.bvh",
        drop: tuple[str, ...] = (),
    ) -> Written:
        body = Body([node for node in body_of(source).nodes if node.name not in drop])
        rng = np.random.default_rng(seed)
        root = body.nodes[0].name
        moving = {root, "Hips"}
        orders = {node.name: "".join(rng.permutation(list("XYZ"))) for node in body.nodes}
        amplitude = {node.name: rng.uniform(-25, 25, 3) * (0.2 if node.name in moving else 1) for node in body.nodes}
        angles, places, found = [], [], []
        for frame in range(frames):
            swing = np.sin(0.4 * frame)
            angles.append(
                {n: [(axis, swing * a) for axis, a in zip(orders[n], amplitude[n], strict=True)] for n in orders}
            )
            placed = {node.name: node.offset.copy() for node in body.nodes if node.name in moving}
            placed[root] = placed[root] + [30.0 + 2 * frame, 0.0, -20.0 + 4 * frame]
            places.append(placed)
            found.append(kinematics(body, angles[-1], placed))
        path = write_bvh(tmp_path / name, body, orders, angles, places, fps, rename, scale)
        return Written(path, {node: np.stack([at[node] for at in found]) for node in found[0]})

    return make


@pytest.fixture(scope="session")
def motions() -> Callable[[int], list[np.ndarray]]:
    """``motions(joints)``: synthetic motions (T, J, 3) of 21 or 22 joints, metres."""
    made: dict[int, list[np.ndarray]] = {}

    def make(joints: int) -> list[np.ndarray]:
        if joints not in made:
            raw = synthetic.generate(count=12, seed=3, joints=joints)
            made[joints] = [motion.joints for motions in raw.splits.values() for motion in motions]
        return made[joints]

    return make


@pytest.fixture(scope="session")
def features_of() -> Callable[[np.ndarray], np.ndarray]:
    """``features_of(joints)``: (T - 1, 263 or 251) features of joints (T, J, 3), frame by frame from the definition:
    what ``recover_joints`` reads, and rotations that are the identity; velocities and contacts stay 0."""

    def make(joints: np.ndarray) -> np.ndarray:
        frames, count = joints.shape[:2]
        names = {21: (11, 16, 5, 8), 22: (1, 2, 16, 17)}[count]
        assert skeleton_of(count).joints == count
        headings = []
        for frame in joints.astype(np.float64):
            across = frame[names[0]] - frame[names[1]] + frame[names[2]] - frame[names[3]]
            forward = np.cross(across, [0.0, 1.0, 0.0])
            headings.append(np.arctan2(forward[0], forward[2]))  # turned to the left from +Z
        features = np.zeros((frames - 1, {21: 251, 22: 263}[count]))
        for t in range(frames - 1):
            here, there = turn("Y", np.degrees(-headings[t])), turn("Y", np.degrees(-headings[t + 1]))
            change = (headings[t] - headings[t + 1] + np.pi) % (2 * np.pi) - np.pi
            features[t, 0] = change / 2
            step = there @ (joints[t + 1, 0].astype(np.float64) - joints[t, 0])
            features[t, 1:3] = step[0], step[2]
            features[t, 3] = joints[t, 0, 1]
            for j in range(1, count):
                seen = here @ (joints[t, j].astype(np.float64) - [joints[t, 0, 0], 0.0, joints[t, 0, 2]])
                features[t, 1 + 3 * j : 4 + 3 * j] = seen
            rotations = np.tile([1.0, 0, 0, 0, 1, 0], count - 1)
            features[t, 4 + 3 * (count - 1) : 4 + 9 * (count - 1)] = rotations
        return features

    return make
