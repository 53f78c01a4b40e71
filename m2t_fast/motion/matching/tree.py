"""The hierarchy of a capture: bone lengths, branches, and the chain of joints that a limb is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from m2t_fast.motion.capture import Capture
from m2t_fast.motion.matching.names import Name, read_names

_FRAMES = 200  # frames that are looked at
_LONGEST = 16  # joints of a chain that are looked at


class Tree:
    """A hierarchy of N nodes with what its names say.

    Attributes:
        names: N names as written. said: N :class:`Name`.
        parents: N indices, -1 for roots. children: N lists.
        points: (S, N, 3) positions in some of the frames.
        ends: (N,) whether the node is an End Site.
    """

    def __init__(self, capture: Capture) -> None:
        self.names = capture.names
        self.said: Sequence[Name] = read_names(capture.names)
        self.parents = capture.parents
        count = len(self.parents)
        self.children: list[list[int]] = [[] for _ in range(count)]
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                self.children[parent].append(node)
        frames = len(capture.positions)
        chosen = np.unique(np.linspace(0, frames - 1, min(frames, _FRAMES)).astype(int))
        self.points = capture.positions[chosen]
        self.rest = capture.rest
        self.ends = np.array([name.endswith(".end") for name in capture.names])
        self.length = np.zeros(count)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                self.length[node] = self.distance(node, parent)

    @cached_property
    def ours(self) -> np.ndarray:
        """(N,) whether the node may be a joint of a body: not named otherwise, or above a joint that is."""
        found = np.ones(len(self.names), dtype=bool)
        named = np.array([bool(name.roles) for name in self.said])
        for node in reversed(range(len(self.names))):
            below = [child for child in self.children[node] if not self.ends[child]]
            named[node] |= any(named[child] for child in below)
            found[node] = named[node] or not self.said[node].other
        for node, parent in enumerate(self.parents):  # what hangs on a finger is none either
            if parent >= 0 and not found[parent] and not named[node]:
                found[node] = False
        return found

    @cached_property
    def reach(self) -> np.ndarray:
        """(N,) length of the longest path down from the node over nodes of ours."""
        found = np.zeros(len(self.names))
        for node in reversed(range(len(self.names))):
            ways = [self.length[child] + found[child] for child in self.children[node] if self.ours[child]]
            found[node] = max(ways, default=0.0)
        return found

    @cached_property
    def diameter(self) -> float:
        """Length of the longest path between two nodes of ours."""
        longest = 0.0
        for node, below in enumerate(self.children):
            ways = sorted(self.length[child] + self.reach[child] for child in below if self.ours[child])
            longest = max(longest, sum(ways[-2:]), self.reach[node] if self.parents[node] < 0 else 0.0)
        return longest

    @cached_property
    def told(self) -> np.ndarray:
        """(N,) how many nodes from this node down have a meaningful name."""
        found = np.array([bool(name.roles) for name in self.said], dtype=int)
        for node in reversed(range(len(self.names))):
            if self.parents[node] >= 0:
                found[self.parents[node]] += found[node]
        return found

    def distance(self, first: int, second: int) -> float:
        """Usual distance between two nodes; bones keep their length, so any frame gives it."""
        return float(np.median(np.linalg.norm(self.points[:, first] - self.points[:, second], axis=1)))

    def branches(self, node: int) -> list[int]:
        """The children of ours of a node."""
        return [child for child in self.children[node] if self.ours[child]]

    def chain(self, node: int) -> list[int]:
        """The nodes from ``node`` down along the main line: meaningful names first, then the longest path;
        of several toes the one in the middle."""
        chain = [node]
        while len(chain) < _LONGEST:
            below = self.branches(chain[-1])
            if not below:
                break
            toes = [child for child in below if "foot" in self.said[child].roles]
            if len(toes) > 2:
                middle = self.points[:, toes].mean(axis=1, keepdims=True)
                apart = np.linalg.norm(self.points[:, toes] - middle, axis=2).mean(axis=0)
                chain.append(toes[int(apart.argmin())])
            else:
                chain.append(
                    max(below, key=lambda child: (self.told[child] > 0, self.length[child] + self.reach[child]))
                )
        return chain

    def path(self, node: int) -> list[int]:
        """The nodes from the root to ``node``."""
        path = [node]
        while self.parents[path[-1]] >= 0:
            path.append(self.parents[path[-1]])
        return path[::-1]

    def between(self, first: int, second: int) -> list[int]:
        """The nodes on the path from ``first`` to ``second``, both included."""
        up, down = self.path(first), self.path(second)
        shared = 0
        while shared < min(len(up), len(down)) and up[shared] == down[shared]:
            shared += 1
        turn = [up[shared - 1]] if shared else []
        return up[shared:][::-1] + turn + down[shared:]
