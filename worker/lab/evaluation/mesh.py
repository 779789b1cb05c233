"""A mesh over the parts of a worn garment; sleeves are joined to the trunk at the shoulders only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from worker.images.arrays import Flags, Floats, Indices, Mask, Points
from worker.images.frame import HEIGHT, WIDTH
from worker.images.shapes import square
from worker.lab.evaluation.bones import Bone
from worker.lab.evaluation.rigid import as_rigid_as_possible

STEP = 8
"""Pixels between the mesh's points."""

_BONE_WEIGHT = 4.0
"""How strongly bones move the mesh, relative to the stiffness of one edge."""

_OUTSIDE = -1e4
"""A coordinate that `cv2.remap` treats as outside the picture."""

_MIN_TRIANGLE_AREA = 1e-6
"""Twice the area of a triangle that is not drawn because it has collapsed, square pixels."""

_SUBPIXEL_SHIFT = 4
"""Fractional bits of a triangle's corners."""


@dataclass(frozen=True)
class Mesh:
    """The mesh on the photograph.

    Attributes:
        points: float64 (n, 2), on a grid of STEP pixels.
        part: int (n,), the part of each point.
        index: part -> int (rows, columns), the number of each grid point in it, -1 outside. Points of the
            seam have the same number in two parts.
    """

    points: Points
    part: Indices
    index: Mapping[int, Indices]

    @classmethod
    def build(cls, areas: Mapping[int, Flags], seam: Flags) -> "Mesh":
        """Return the mesh of parts, each bool (1024, 768), joined to the first part inside the seam."""
        rows, columns = HEIGHT // STEP + 1, WIDTH // STEP + 1
        grid = STEP * np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).astype(float)
        points: list[Points] = []
        parts: list[int] = []
        index: dict[int, Indices] = {}
        for part, area in areas.items():
            # One grid point more on every side, so that the mesh contains the outline.
            inside = _on_grid(cv2.dilate(area.astype(np.uint8), square(STEP)))
            numbers = np.full((rows, columns), -1)
            if index:
                first = next(iter(index.values()))
                numbers = np.where(inside & _on_grid(seam.astype(np.uint8)), first, -1)
            added = inside & (numbers < 0)
            numbers[added] = len(parts) + np.arange(added.sum())
            points.append(grid[added])
            parts += [part] * int(added.sum())
            index[part] = numbers
        return cls(np.concatenate(points), np.array(parts), index)

    def straighten(self, bones: Sequence[Bone]) -> Points:
        """Return the points after the bones have moved to their targets, float64 (n, 2)."""
        initial = self.points.copy()
        anchors, targets = [], []
        for part, numbers in self.index.items():
            # A part without a bone follows the first bone.
            own_bones = [bone for bone in bones if bone.part == part] or list(bones[:1])
            initial[self.part == part] = _move_with_bones(self.points[self.part == part], own_bones)
            for bone in own_bones:
                column, row = np.round(bone.points / STEP).astype(int).T
                rows, columns = numbers.shape
                inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
                anchor = np.where(inside, numbers[row.clip(0, rows - 1), column.clip(0, columns - 1)], -1)
                anchors.append(anchor[anchor >= 0])
                targets.append(bone.targets[anchor >= 0])
        return as_rigid_as_possible(
            self.points,
            self._edges(),
            initial,
            np.concatenate(anchors),
            np.concatenate(targets),
            _BONE_WEIGHT,
        )

    def source_maps(self, moved: Points, part: int) -> tuple[Floats, Floats]:
        """Return the photograph's coordinates of each pixel of a part after its points have moved.

        Args:
            moved: float64 (n, 2), the points' new positions.
            part: the part's number.

        Returns:
            x and y for `cv2.remap`, float32 (1024, 768) each; far outside the picture where the part is not.
        """
        triangles = self._triangles(part)
        corners = moved[triangles]
        across, down = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        area = np.abs(across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0])
        triangles = triangles[area > _MIN_TRIANGLE_AREA]
        number = np.zeros((HEIGHT, WIDTH), np.int32)  # of the triangle at each pixel, from 1
        fixed_point = np.round(moved[triangles] * 2**_SUBPIXEL_SHIFT).astype(np.int32)
        for index, corner in enumerate(fixed_point, start=1):
            cv2.fillConvexPoly(number, corner, index, cv2.LINE_8, _SUBPIXEL_SHIFT)
        affine = np.linalg.solve(
            np.dstack([moved[triangles], np.ones((*triangles.shape, 1))]), self.points[triangles]
        )
        source_x, source_y = (np.full((HEIGHT, WIDTH), _OUTSIDE, np.float32) for _ in range(2))
        y, x = np.nonzero(number)
        pixels = np.column_stack([x, y, np.ones(len(x))])
        source_x[y, x], source_y[y, x] = np.einsum("ni,nij->jn", pixels, affine[number[y, x] - 1])
        return source_x, source_y

    def _triangles(self, part: int) -> Indices:
        """Return the part's triangles, int (n, 3): two for each square of the grid that is inside."""
        n = self.index[part]
        squares = np.stack([n[:-1, :-1], n[:-1, 1:], n[1:, :-1], n[1:, 1:]])
        a, b, c, d = squares[:, squares.min(axis=0) >= 0]
        return np.concatenate([np.column_stack([a, b, c]), np.column_stack([b, d, c])])

    def _edges(self) -> Indices:
        """Return the pairs of neighbours, diagonal ones included, int (m, 2)."""
        pairs = []
        for n in self.index.values():
            for one, two in (
                (n[:, :-1], n[:, 1:]),
                (n[:-1], n[1:]),
                (n[:-1, :-1], n[1:, 1:]),
                (n[:-1, 1:], n[1:, :-1]),
            ):
                both = (one >= 0) & (two >= 0)
                pairs.append(np.column_stack([one[both], two[both]]))
        return np.unique(np.concatenate(pairs), axis=0)


def _on_grid(area: Mask | cv2.typing.MatLike) -> Flags:
    """Return an area, uint8 (1024, 768), at the grid's points, the last row and column included."""
    return np.asarray(cv2.copyMakeBorder(area, 0, 1, 0, 1, cv2.BORDER_REPLICATE)[::STEP, ::STEP] > 0)


def _move_with_bones(points: Points, bones: Sequence[Bone]) -> Points:
    """Return points moved and rotated with the nearest point of the bones, float64 (n, 2)."""
    before = np.concatenate([bone.points for bone in bones])
    after = np.concatenate([bone.targets for bone in bones])
    angle = np.concatenate([bone.rotation() for bone in bones])
    nearest = ((points[:, None] - before[None]) ** 2).sum(2).argmin(1)
    offset = points - before[nearest]
    cosine, sine = np.cos(angle)[nearest], np.sin(angle)[nearest]
    rotated = [cosine * offset[:, 0] - sine * offset[:, 1], sine * offset[:, 0] + cosine * offset[:, 1]]
    return np.asarray(after[nearest] + np.column_stack(rotated))
