"""The drawing in use, wherever it was drawn."""

from __future__ import annotations

import numpy as np
import pytest

from core.ink.preparation import Preparation, to_mnist
from core.ink.strokes import Sheet, Stroke
from ui.state import drawing_in_use, drawings, photos, surfaces

SHEET = Sheet((Stroke(((100.0, 100.0), (200.0, 300.0)), 30.0),), 400, 400)
INK = np.zeros((280, 280), np.float32)
INK[60:220, 130:150] = 1


@pytest.fixture
def on_pad() -> int:
    """The number of a drawing on the live pad that was read as a seven."""
    surfaces.choose_draw_source("Live pad")
    surfaces.hear_pad(SHEET)
    drawing_in_use.keep_reading(to_mnist(SHEET), 7)
    return drawing_in_use.drawing_number()


def test_the_drawing_is_what_is_on_the_surface_in_use(on_pad):
    assert drawing_in_use.ink() == SHEET
    surfaces.choose_draw_source("Canvas")
    assert not drawing_in_use.ink().any()
    surfaces.choose_draw_source("Camera")
    assert drawing_in_use.ink() is None


def test_a_reading_is_remembered_with_its_drawing(on_pad):
    assert drawing_in_use.last_digit() == 7
    assert np.array_equal(drawing_in_use.last_drawing(), to_mnist(SHEET))
    assert [(one.number, one.source, one.digit) for one in drawings.drawn()] == [(on_pad, "Live pad", 7)]


def test_a_drawing_rests_from_when_it_was_read_first(on_pad):
    before = drawing_in_use.seconds_since_reading()
    drawing_in_use.keep_reading(to_mnist(SHEET), 1)

    assert drawing_in_use.seconds_since_reading() >= before


def test_a_picture_is_a_drawing_that_waits_to_be_read(on_pad):
    surfaces.choose_draw_source("Picture")
    drawing_in_use.keep_picture(1 - INK, INK)
    number = drawing_in_use.drawing_number()

    assert number != on_pad
    assert np.array_equal(drawing_in_use.photo(), 1 - INK)
    assert [(given[0], given[1]) for given in photos.unread_pictures()] == [(number, "Picture")]
    drawing_in_use.keep_reading(to_mnist(INK), 1)
    assert photos.unread_pictures() == []


def test_an_earlier_drawing_comes_back_on_what_it_was_drawn_on(on_pad):
    surfaces.choose_draw_source("Picture")
    drawing_in_use.keep_picture(1 - INK, INK)
    drawing_in_use.keep_reading(to_mnist(INK), 1)
    picture = drawing_in_use.drawing_number()

    drawing_in_use.bring_back(on_pad)
    assert (surfaces.draw_source(), drawing_in_use.ink(), drawing_in_use.drawing_number()) == (
        "Live pad",
        SHEET,
        on_pad,
    )
    drawing_in_use.bring_back(picture)

    assert (surfaces.draw_source(), drawing_in_use.drawing_number()) == ("Picture", picture)
    assert np.array_equal(drawing_in_use.ink(), INK)
    assert [one.number for one in drawings.drawn()] == [on_pad, picture]


def test_a_drawing_that_is_not_kept_does_not_come_back(on_pad):
    drawing_in_use.bring_back(on_pad + 1)

    assert drawing_in_use.drawing_number() == on_pad


def test_all_drawings_are_there_the_newest_first_though_it_was_not_read(on_pad):
    surfaces.choose_draw_source("Picture")
    drawing_in_use.keep_picture(1 - INK, INK)
    drawing_in_use.prepare_by("centre", False)

    made = drawing_in_use.drawings()

    assert list(made) == [drawing_in_use.drawing_number(), on_pad]
    assert np.array_equal(made[drawing_in_use.drawing_number()], to_mnist(INK, Preparation(centre=False)))
    assert np.array_equal(made[on_pad], to_mnist(SHEET))
