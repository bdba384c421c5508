"""What was drawn in a session."""

from __future__ import annotations

import numpy as np

from core.ink.strokes import Sheet, Stroke
from ui.state import drawings

SHEET = Sheet((Stroke(((100.0, 100.0), (200.0, 300.0)), 30.0),), 400, 400)
IMAGE = np.zeros((28, 28), np.uint8)


def test_every_drawing_has_a_number_of_its_own():
    assert [drawings.begin_drawing() for _ in range(3)] == [1, 2, 3]


def test_a_drawing_that_is_drawn_further_is_the_same_one_and_the_newest():
    drawings.keep_drawn(1, "Canvas", SHEET, IMAGE, 7)
    drawings.keep_drawn(2, "Canvas", SHEET, IMAGE, 3)
    drawings.keep_drawn(1, "Canvas", SHEET, IMAGE, None)

    assert [(one.number, one.digit) for one in drawings.drawn()] == [(2, 3), (1, None)]


def test_only_the_newest_are_kept():
    for number in range(drawings.MOST_DRAWN + 5):
        drawings.keep_drawn(number, "Canvas", SHEET, IMAGE, 7)

    assert [one.number for one in drawings.drawn()] == list(range(5, drawings.MOST_DRAWN + 5))


def test_a_picture_s_ink_is_kept_in_bytes():
    drawings.keep_drawn(1, "Picture", np.float32([[0, 0.5, 1]]), IMAGE, 7)

    assert drawings.drawn()[0].ink.dtype == np.uint8
    assert drawings.drawn()[0].ink.tolist() == [[0, 128, 255]]
