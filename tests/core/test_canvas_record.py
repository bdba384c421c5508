"""What the canvas and the pad send is read, or refused with a sentence."""

from __future__ import annotations

import base64
import io
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from core import canvas_record
from core.errors import DrawingError
from core.pictures import png


def url(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


def test_the_ink_is_what_the_picture_covers():
    pixels = np.zeros((40, 60, 4), np.uint8)
    pixels[10:20, 5:9, 3] = 255

    ink = canvas_record.ink(url(png(pixels)))

    np.testing.assert_array_equal(ink, (pixels[..., 3] / 255).astype(np.float32))


def test_an_empty_canvas_has_no_ink():
    assert canvas_record.ink(url(png(np.zeros((40, 60, 4), np.uint8)))) is None


def test_every_way_to_cut_a_picture_short_is_told():
    pixels = np.random.default_rng(0).integers(0, 255, (20, 20, 4), dtype=np.uint8)
    whole = png(pixels)

    for length in range(0, len(whole) - 20, 97):
        with pytest.raises(DrawingError, match="still on it"):
            canvas_record.ink(url(whole[:length]))


def test_a_picture_too_large_for_a_canvas_is_refused_before_it_is_unpacked():
    side = 9000
    huge = io.BytesIO()
    Image.new("1", (side, side)).save(huge, "PNG")

    with pytest.raises(DrawingError, match=r"at most 4,000,000 pixels, received 9000 × 9000"):
        canvas_record.ink(url(huge.getvalue()))


def test_strokes_are_kept_within_the_pad():
    assert canvas_record.strokes([[[0.5, 0.25], [2, -1]], []]) == [[[0.5, 0.25], [1.0, 0.0]]]


@pytest.mark.parametrize(
    "sent", ["strokes", None, [[["a", 1]]], [[[1, 2, 3]]], [[[0.5, float("nan")]]], [[[0, 0]]] * 300]
)
def test_something_else_than_strokes_is_refused_by_the_pad(sent):
    with pytest.raises(DrawingError):
        canvas_record.strokes(sent)


@pytest.mark.parametrize("url", ["data:image/png;base64,iVBORw0KGgo=", "data:image/png;base64,@", "something"])
def test_a_picture_that_the_canvas_cut_short_is_told(url):
    with pytest.raises(DrawingError, match="still on it"):
        canvas_record.ink(url)


def test_the_erasers_strokes_take_ink_away():
    pen = {"stroke": canvas_record.INK, "path": []}
    record = {"objects": [pen, {"stroke": canvas_record.PAPERS["light"], "path": []}]}

    erased = canvas_record.erased(record)

    assert erased["objects"] == [pen, {"stroke": "#000", "path": [], "globalCompositeOperation": "destination-out"}]
    assert canvas_record.erased(erased) == erased
    assert canvas_record.erased(None) == {"objects": []}
    assert canvas_record.is_same(erased, record)
    assert not canvas_record.is_same(record, {"objects": [pen]})


def painted(paper: str, opacity: float) -> tuple[np.ndarray, dict]:
    """Pixels of ink, the right half painted over in the paper's colour as far as an eraser covers it; and their record."""
    ink, ground = (np.array(ImageColor.getrgb(colour), float) for colour in (canvas_record.INK, paper))
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[5:15, 5:10] = *ink, 255
    pixels[5:15, 10:15] = *np.rint(opacity * ground + (1 - opacity) * ink), 255
    pixels[15:, 10:15] = *ground, round(255 * opacity)
    return pixels, {"objects": [{"stroke": canvas_record.INK}, {"stroke": paper}]}


@pytest.mark.parametrize("paper", canvas_record.PAPERS.values())
@pytest.mark.parametrize("opacity", [1, 0.6, 0.25])
def test_paint_in_the_papers_colour_leaves_the_ink_that_can_be_seen(paper, opacity):
    pixels, record = painted(paper, opacity)

    ink = canvas_record.ink(url(png(pixels)), record)

    expected = np.zeros((20, 20))
    expected[5:15, 5:10], expected[5:15, 10:15] = 1, 1 - opacity
    np.testing.assert_allclose(ink, expected, atol=0.02)
    assert not ink[expected == 0].any()


def test_the_papers_are_the_grounds_of_the_themes():
    theme = tomllib.loads((Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text())["theme"]

    assert {name: theme[name]["backgroundColor"] for name in ("light", "dark")} == canvas_record.PAPERS


def test_what_an_eraser_left_at_its_rims_is_no_drawing():
    pixels = np.zeros((40, 60, 4), np.uint8)
    pixels[10:20, 5:9, 3] = 5
    assert canvas_record.ink(url(png(pixels))) is None

    pixels[10:20, 5:9, 3] = 64
    assert canvas_record.ink(url(png(pixels))) is not None
