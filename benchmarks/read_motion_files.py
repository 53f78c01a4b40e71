"""How long a long capture takes to read: ten minutes at 120 frames per second as .bvh; wall and processor time.

    python benchmarks/read_motion_files.py [--minutes 10] [--fps 120]

The file is made here: 31 joints with three rotations each, the root with a position, six digits per number.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from m2t_fast.motion import read_bvh, read_motion
from m2t_fast.skeleton import HUMANML3D

TRUNK = (("Hips", (0, 95, 0)), ("Spine", (0, 12, 0)), ("Spine1", (0, 12, 0)), ("Spine2", (0, 13, 0)))
TRUNK += (("Neck", (0, 16, 0)), ("Head", (0, 9, 2)))
LIMBS = {
    "Spine2": (("Shoulder", (6, 12, 0)), ("Arm", (11, 0, 0)), ("ForeArm", (27, 0, 0)), ("Hand", (25, 0, 0)),
               ("HandIndex1", (9, 0, 2)), ("HandIndex2", (4, 0, 0)), ("HandIndex3", (3, 0, 0))),
    "Hips": (("UpLeg", (9, -6, 0)), ("Leg", (0, -41, 0)), ("Foot", (0, -42, 0)), ("ToeBase", (0, -6, 13)),
             ("Toe_End", (0, 0, 7))),
}  # fmt: skip


def hierarchy() -> tuple[str, int]:
    """The text up to MOTION, and the number of channels."""
    joints: list[tuple[str, str, tuple[float, ...]]] = []
    above = ""
    for name, offset in TRUNK:
        joints.append((name, above, offset))
        above = name
    for root, chain in LIMBS.items():
        for side, sign in (("Left", 1), ("Right", -1)):
            above = root
            for name, (x, y, z) in chain:
                joints.append((side + name, above, (sign * x, y, z)))
                above = side + name

    def written(name: str) -> str:
        parent, offset = next((above, offset) for one, above, offset in joints if one == name)
        below = "".join(written(one) for one, above, _ in joints if above == name)
        channels = "3 Zrotation Xrotation Yrotation"
        if not parent:
            channels = "6 Xposition Yposition Zposition Zrotation Xrotation Yrotation"
        place = " ".join(map(str, offset))
        below = below or "End Site\n{\nOFFSET 0 0 5\n}\n"
        return f"{'JOINT' if parent else 'ROOT'} {name}\n{{\nOFFSET {place}\nCHANNELS {channels}\n{below}}}\n"

    return f"HIERARCHY\n{written('Hips')}", 3 + 3 * len(joints)


def main() -> None:
    """Writes the file and reads it three times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--fps", type=float, default=120.0)
    args = parser.parse_args()
    text, channels = hierarchy()
    frames = int(args.minutes * 60 * args.fps)
    angles = 20 * np.sin(np.arange(997)[:, None] / 40 + np.arange(channels))
    rows = [" ".join(f"{value:.6f}" for value in row) for row in angles]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.bvh"
        body = "\n".join(rows[frame % len(rows)] for frame in range(frames))
        path.write_text(f"{text}MOTION\nFrames: {frames}\nFrame Time: {1 / args.fps:.7f}\n{body}\n")
        del body
        print(f"{frames} frames, {channels} channels, {path.stat().st_size / 1e6:.0f} MB")
        for _ in range(3):
            for name, read in (
                ("read_bvh", lambda: read_bvh(path)),
                ("read_motion", lambda: read_motion(path, HUMANML3D)),
            ):
                wall, spent = time.perf_counter(), time.process_time()
                read()
                print(
                    f"{name}: {time.perf_counter() - wall:.2f} s, {time.process_time() - spent:.2f} s of processor time"
                )
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB at most")


if __name__ == "__main__":
    main()
