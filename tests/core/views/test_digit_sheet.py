"""A click on a sheet tells which digit it was, and the digit lies where it was clicked."""

from __future__ import annotations

import base64
import io

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from core.views import digit_sheet, pictures

RANDOM = np.random.default_rng(4)
IMAGES = RANDOM.integers(0, 256, (5, 28, 28), np.uint8)


def picture(figure: go.Figure) -> np.ndarray:
    """The pixels that lie behind a figure's points."""
    (image,) = figure.layout.images
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image.source.partition(",")[2]))))


class TestSheets:
    def test_a_click_tells_the_place_of_a_digit_and_the_digit_lies_under_it(self):
        figure = digit_sheet.sheet(IMAGES, list("uvwxy"), columns=3)
        points, behind = figure.data[0], picture(figure)[::2, ::2]

        assert list(points.customdata) == [0, 1, 2, 3, 4]
        assert list(points.text) == list("uvwxy")
        for place, image in enumerate(IMAGES):
            x, y = points.x[place], points.y[place]
            np.testing.assert_array_equal(behind[y - 14 : y + 14, x - 14 : x + 14], image)

    def test_the_chosen_digit_is_framed_and_those_marked_are_underlined(self):
        shapes = digit_sheet.sheet(IMAGES, list("uvwxy"), 3, chosen=4, marked=(1,)).layout.shapes

        underline, frame = shapes
        assert underline.line.color == pictures.RED
        assert underline.x0 < 30 + 14 < underline.x1  # the second of the first row
        assert frame.line.color == pictures.OCHRE
        assert frame.x0 < 30 + 14 < frame.x1  # the second of the second row
        assert frame.y0 < 30 + 14 < frame.y1

    def test_a_captioned_sheet_has_its_lines_below_each_digit_and_the_digits_in_place(self):
        captions = [(f"{place}, sure", f"of {place}") for place in range(5)]
        figure = digit_sheet.captioned(IMAGES, captions, list("uvwxy"), columns=3, rows=2, chosen=4)
        points, behind = figure.data[0], picture(figure)[::2, ::2]

        assert [note.text for note in figure.layout.annotations] == ["<br>".join(lines) for lines in captions]
        for place, image in enumerate(IMAGES):
            x, y = int(points.x[place]), int(points.y[place])
            np.testing.assert_array_equal(behind[y - 14 : y + 14, x - 14 : x + 14, 0], image)
            assert figure.layout.annotations[place].y == y + 14
        (frame,) = figure.layout.shapes
        assert (frame.x0 + frame.x1, frame.y0 + frame.y1) == (2 * points.x[4], 2 * points.y[4])

    def test_a_captioned_sheet_is_clear_where_there_is_no_digit_and_as_tall_as_its_rows(self):
        one, full = (
            digit_sheet.captioned(IMAGES[:count], [("", "")] * count, [""] * count, 3, 2, 0) for count in (1, 5)
        )

        assert picture(one)[..., 3].sum() == 255 * 28 * 28 * 4
        assert one.layout.height == full.layout.height
