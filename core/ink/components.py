"""Connected components of ink."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TOUCHING = np.ones((3, 3), bool)  # by an edge or a corner


@dataclass(frozen=True, eq=False)
class Components:
    """The pieces of a mask, those that touch by an edge or a corner counted as one.

    Attributes:
        labels: (h, w) int32, 0 where there is no ink, else the piece's number from 1 on.
        areas: (n,) int64, pixels of each piece.
        boxes: (n, 4) int64, left, top, right, bottom of each; right and bottom are the first column and row beyond it.
    """

    labels: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray

    def mask(self, kept: np.ndarray) -> np.ndarray:
        """Return where the chosen components are, (h, w) bool.

        Args:
            kept: (n,) bool, which of the n components are chosen.
        """
        return np.concatenate([[False], kept])[self.labels]


def components(mask: np.ndarray) -> Components:
    """Label the pieces of a mask, (h, w) bool."""
    from scipy import ndimage  # a quarter of a second, for which the first page need not wait

    # Given no array to write to, it returns both.
    labels, count = ndimage.label(mask, TOUCHING)  # pyright: ignore[reportGeneralTypeIssues]
    boxes = [(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in ndimage.find_objects(labels)]
    return Components(labels, np.bincount(labels.ravel(), minlength=count + 1)[1:], np.array(boxes, int).reshape(-1, 4))
