"""A mesh over the parts of a worn garment, sewn at the shoulders and open everywhere else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from worker.images.frame import HEIGHT, WIDTH
from worker.lab.evaluation.bones import Bone
from worker.lab.evaluation.rigid import as_rigid_as_possible

STEP = 8
"""Pixels between the mesh's points."""

_PULL = 4.0  # how strongly bones are held
_NOWHERE = -1e4  # a position that `cv2.remap` takes for outside


@dataclass(frozen=True)
class Mesh:
    """The mesh on the photograph.

    Attributes:
        points: float64 (n, 2), on a grid of STEP.
        part: int (n,), each point's part.
        number: part -> int (rows, columns), the grid's points in it, -1 where there is none. What is sewn
            has one number in two parts.
    """

    points: np.ndarray
    part: np.ndarray
    number: Mapping[int, np.ndarray]

    @classmethod
    def of(cls, areas: Mapping[int, np.ndarray], seam: np.ndarray) -> "Mesh":
        """Return the mesh of parts, each bool (1024, 768), sewn to the first one where `seam` is."""
        rows, columns = HEIGHT // STEP + 1, WIDTH // STEP + 1
        grid = STEP * np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).astype(float)
        points: list[np.ndarray] = []
        part: list[int] = []
        number: dict[int, np.ndarray] = {}
        for name, area in areas.items():
            # A point more on every side, so that the mesh holds the outline too.
            inside = _on_grid(cv2.dilate(area.astype(np.uint8), np.ones((2 * STEP + 1,) * 2, np.uint8)))
            numbers = np.full((rows, columns), -1)
            if number:
                first = next(iter(number.values()))
                numbers = np.where(inside & _on_grid(seam.astype(np.uint8)), first, -1)
            fresh = inside & (numbers < 0)
            numbers[fresh] = len(part) + np.arange(fresh.sum())
            points.append(grid[fresh])
            part += [name] * int(fresh.sum())
            number[name] = numbers
        return cls(np.concatenate(points), np.array(part), number)

    def straightened(self, bones: Sequence[Bone]) -> np.ndarray:
        """Return where the points lie when the bones lie at their targets, float64 (n, 2)."""
        begin = self.points.copy()
        held, targets = [], []
        for name, numbers in self.number.items():
            # A part without a bone goes with the first.
            mine = [bone for bone in bones if bone.part == name] or list(bones[:1])
            begin[self.part == name] = _with_nearest(self.points[self.part == name], mine)
            for bone in mine:
                column, row = np.round(bone.points / STEP).astype(int).T
                rows, columns = numbers.shape
                inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
                at = np.where(inside, numbers[row.clip(0, rows - 1), column.clip(0, columns - 1)], -1)
                held.append(at[at >= 0])
                targets.append(bone.targets[at >= 0])
        return as_rigid_as_possible(
            self.points, self._edges(), begin, np.concatenate(held), np.concatenate(targets), _PULL
        )

    def sources(self, moved: np.ndarray, part: int) -> tuple[np.ndarray, np.ndarray]:
        """Return where each pixel of a part comes from when the points are moved: x and y for `cv2.remap`.

        float32 (1024, 768) each; far outside where the part is not.
        """
        n = self.number[part]
        a, b, c, d = n[:-1, :-1], n[:-1, 1:], n[1:, :-1], n[1:, 1:]
        whole = np.min([a, b, c, d], axis=0) >= 0
        a, b, c, d = (corner[whole] for corner in (a, b, c, d))
        triangles = np.concatenate([np.column_stack([a, b, c]), np.column_stack([b, d, c])])
        px, py = (np.full((HEIGHT, WIDTH), _NOWHERE, np.float32) for _ in range(2))
        corners = moved[triangles]
        across, down = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        triangles = triangles[np.abs(across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]) > 1e-6]
        which = np.zeros((HEIGHT, WIDTH), np.int32)
        for index, corner in enumerate(np.round(moved[triangles] * 16).astype(np.int32), start=1):
            cv2.fillConvexPoly(which, corner, index, cv2.LINE_8, 4)
        affine = np.linalg.solve(
            np.dstack([moved[triangles], np.ones((*triangles.shape, 1))]), self.points[triangles]
        )
        y, x = np.nonzero(which)
        here = np.column_stack([x, y, np.ones(len(x))])
        px[y, x], py[y, x] = np.einsum("ni,nij->jn", here, affine[which[y, x] - 1])
        return px, py

    def _edges(self) -> np.ndarray:
        """Return which points are neighbours, also across, int (m, 2)."""
        pairs = []
        for n in self.number.values():
            for one, two in (
                (n[:, :-1], n[:, 1:]),
                (n[:-1], n[1:]),
                (n[:-1, :-1], n[1:, 1:]),
                (n[:-1, 1:], n[1:, :-1]),
            ):
                both = (one >= 0) & (two >= 0)
                pairs.append(np.column_stack([one[both], two[both]]))
        return np.unique(np.concatenate(pairs), axis=0)


def _on_grid(area: np.ndarray) -> np.ndarray:
    return cv2.copyMakeBorder(area, 0, 1, 0, 1, cv2.BORDER_REPLICATE)[::STEP, ::STEP] > 0


def _with_nearest(points: np.ndarray, bones: Sequence[Bone]) -> np.ndarray:
    """Return points moved with the nearest points of bones, and turned as the bones are there."""
    here, there = (np.concatenate([getattr(bone, name) for bone in bones]) for name in ("points", "targets"))
    turn = np.concatenate([bone.turn() for bone in bones])
    nearest = ((points[:, None] - here[None]) ** 2).sum(2).argmin(1)
    away = points - here[nearest]
    cosine, sine = np.cos(turn)[nearest], np.sin(turn)[nearest]
    turned = [cosine * away[:, 0] - sine * away[:, 1], sine * away[:, 0] + cosine * away[:, 1]]
    return np.asarray(there[nearest] + np.column_stack(turned))
