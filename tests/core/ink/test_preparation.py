"""Drawings end as MNIST made its pictures, whoever drew them, wherever and however large."""

import json
import os

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.data.datasets import read_npz
from core.data.measures import traits
from core.errors import DrawingError
from core.ink.preparation import Preparation, ink_from_strokes, prepare, to_mnist

MNIST = os.environ.get("DIGITLAB_MNIST")
STROKES = os.environ.get("DIGITLAB_STROKES")

needs_mnist = pytest.mark.skipif(not MNIST, reason="DIGITLAB_MNIST names no file")
needs_strokes = pytest.mark.skipif(not STROKES, reason="DIGITLAB_STROKES names no file")

SEVEN = [[[60, 50], [140, 50], [90, 150]], [[80, 100], [130, 100]]]
SHAPES = {
    "seven": SEVEN,
    "bar": [[[100, 20], [100, 180]]],
    "dash": [[[20, 100], [180, 100]]],
    "slash": [[[20, 180], [180, 20]]],
    "ring": [[[100 + 60 * np.cos(a), 100 + 80 * np.sin(a)] for a in np.linspace(0, 2 * np.pi, 40)]],
}


def draw(strokes, size: int = 280, width: float = 14) -> np.ndarray:
    """Strokes on a sheet of 200x200."""
    return ink_from_strokes(strokes, (200, 200), size, width)


def centre_of_mass(picture: np.ndarray) -> np.ndarray:
    """(row, column), counted from the middle of the first pixel."""
    weights = picture / picture.sum()
    return np.array([(np.indices(picture.shape)[axis] * weights).sum() for axis in (0, 1)])


def extent(picture: np.ndarray) -> tuple[int, int]:
    """The height and width of the ink's bounding box."""
    rows, columns = np.nonzero(picture)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def difference(picture: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of grey, 0..255, granting the pixel that rounding the shift may decide either way."""
    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return min(np.abs(np.roll(picture, shift, axis=(0, 1)).astype(float) - other).mean() for shift in shifts)


def has_clear_edges(image: np.ndarray) -> bool:
    """Whether an MNIST image's dark pixels span as much as all its ink, 20 pixels and an even number."""
    return extent(image) == extent(image >= 64) and max(extent(image)) == 20 and min(extent(image)) % 2 == 0


class TestInkFromStrokes:
    def test_a_point_is_a_disc_as_wide_as_the_pen(self):
        ink = ink_from_strokes([[[50, 50]]], (100, 100), size=100, width=20)

        assert ink.dtype == np.float32
        assert ink.sum() == pytest.approx(np.pi * 10**2, rel=0.05)
        assert centre_of_mass(ink) == pytest.approx([49.5, 49.5], abs=0.2)

    def test_a_line_has_round_caps(self):
        ink = ink_from_strokes([[[30, 50], [70, 50]]], (100, 100), size=100, width=20)

        assert ink.sum() == pytest.approx(40 * 20 + np.pi * 10**2, rel=0.05)
        assert extent(ink > 0.5) == pytest.approx((20, 60), abs=1)

    def test_a_corner_is_round_and_without_a_gap(self):
        corner = [[[20, 80], [80, 80], [80, 20]]]

        ink = ink_from_strokes(corner, (100, 100), size=100, width=20)

        y, x = np.indices((100, 100)) + 0.5
        to_floor = np.hypot(x - np.clip(x, 20, 80), y - 80)
        to_wall = np.hypot(x - 80, y - np.clip(y, 20, 80))
        exact = np.minimum(to_floor, to_wall) <= 10
        assert ((ink > 0.5) != exact).mean() < 0.005

    def test_its_edges_are_anti_aliased(self):
        ink = draw(SHAPES["slash"])

        assert len(np.unique(ink)) > 8
        assert (ink.min(), ink.max()) == (0, 1)

    def test_a_wide_box_keeps_its_proportions(self):
        frame = [[[90, 90], [630, 90], [630, 270], [90, 270], [90, 90]]]

        ink = ink_from_strokes(frame, (720, 360), size=280, width=6)

        assert extent(ink > 0.5) == pytest.approx((70 + 6, 210 + 6), abs=1)
        assert centre_of_mass(ink) == pytest.approx([139.5, 139.5], abs=0.2)

    def test_no_strokes_leave_no_ink(self):
        assert not ink_from_strokes([], (100, 100), size=50).any()


class TestToMnist:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_fills_a_box_of_20_pixels(self, shape):
        picture = to_mnist(draw(SHAPES[shape]))

        assert (picture.shape, picture.dtype, picture.max()) == ((28, 28), np.uint8, 255)
        assert max(extent(picture)) == 20

    @pytest.mark.parametrize("shape", SHAPES)
    def test_puts_the_centre_of_mass_at_the_centre(self, shape):
        picture = to_mnist(draw(SHAPES[shape]))

        assert centre_of_mass(picture) == pytest.approx([14, 14], abs=0.5)

    def test_keeps_the_aspect_ratio(self):
        rectangle = np.zeros((280, 280), np.float32)
        rectangle[40:240, 100:150] = 1

        assert extent(to_mnist(rectangle, Preparation(strokes=False))) in [
            (20, 5),
            (20, 6),
        ]  # 6 where it straddles pixels

    @pytest.mark.parametrize(("down", "right"), [(-60, -70), (-1, 3), (50, 61)])
    def test_does_not_care_where_it_is_drawn(self, down, right):
        ink = draw(SEVEN)
        moved = np.roll(ink, (down, right), axis=(0, 1))

        np.testing.assert_array_equal(to_mnist(moved), to_mnist(ink), strict=True)

    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("size", [140, 560, 1120])
    def test_does_not_care_how_large_it_is_drawn(self, shape, size):
        expected = to_mnist(draw(SHAPES[shape]))

        picture = to_mnist(draw(SHAPES[shape], size, width=size / 20))

        assert difference(picture, expected) < 8

    def test_a_drawing_of_a_few_pixels_is_enlarged(self):
        tiny = np.zeros((280, 280), np.float32)
        tiny[100:105, 200:203] = [[1, 1, 1], [0, 0, 1], [0, 1, 0], [0, 1, 0], [0, 1, 0]]

        assert extent(to_mnist(tiny)) == (20, 12)

    def test_a_single_pixel_works(self):
        ink = np.zeros((280, 280), np.float32)
        ink[3, 277] = 0.01

        np.testing.assert_array_equal(to_mnist(ink), np.pad(np.full((20, 20), 255, np.uint8), 4), strict=True)

    def test_a_dot_becomes_a_disc(self):
        picture = to_mnist(draw([[[100, 100]]]))

        assert extent(picture) == (20, 20)
        assert picture.sum() / 255 == pytest.approx(np.pi * 10**2, rel=0.1)

    def test_a_full_canvas_works(self):
        picture = to_mnist(np.ones((280, 400), np.float32))

        assert extent(picture) == (14, 20)
        assert picture.max() == 255

    def test_a_hairline_does_not_vanish(self):
        ink = np.zeros((280, 280), np.float32)
        ink[5:275, 130] = 1
        ink[140, 5:275] = 1

        picture = to_mnist(ink)

        assert extent(picture) == (20, 20)
        assert picture[picture > 0].mean() > 100

    def test_a_faint_pen_writes_as_well_as_a_dark_one(self):
        ink = draw(SEVEN)

        np.testing.assert_allclose(to_mnist(ink * np.float32(0.3)).astype(int), to_mnist(ink), atol=1)

    def test_the_rim_left_by_an_eraser_does_not_count(self):
        ink = draw(SEVEN)
        smeared = ink.copy()
        smeared[0, :] = 0.2

        np.testing.assert_array_equal(to_mnist(smeared), to_mnist(ink), strict=True)

    def test_a_lopsided_drawing_stays_whole(self):
        blot_and_speck = np.zeros((280, 280), np.float32)
        blot_and_speck[:60, :60] = 1
        blot_and_speck[270:, 270:] = 1

        picture = to_mnist(blot_and_speck)

        assert extent(picture) == (20, 20)
        assert picture.sum() == prepare(blot_and_speck).stages[-2].image.sum()

    @pytest.mark.parametrize("shape", [(280, 280), (1, 1), (0, 0)])
    def test_refuses_an_empty_canvas(self, shape):
        with pytest.raises(DrawingError, match=r"the canvas is empty\. Draw one digit"):
            to_mnist(np.zeros(shape, np.float32))

    @settings(deadline=None, max_examples=60)
    @given(
        strokes=st.lists(
            st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=1, max_size=8),
            min_size=1,
            max_size=4,
        ),
        width=st.floats(1, 60),
        size=st.integers(20, 300),
    )
    @example(strokes=[[(0, 0), (0, 77)]], width=1, size=93)  # one column, which Pillow's BOX filter loses
    def test_any_drawing_fits_and_is_centred(self, strokes, width, size):
        picture = to_mnist(draw(strokes, size, width))

        off = np.abs(centre_of_mass(picture) - 14)
        at_the_edge = [picture[[0, -1]].any(), picture[:, [0, -1]].any()]
        assert (picture.shape, picture.dtype, picture.max()) == ((28, 28), np.uint8, 255)
        assert max(extent(picture)) <= 20
        assert ((off <= 0.5 + 1e-9) | at_the_edge).all()


class TestPrepare:
    def test_shows_the_picture_after_every_step_and_what_a_network_would_be_given(self):
        ink = draw(SEVEN)

        prepared = prepare(ink)

        drawn, redrawn, cropped, centred = prepared.stages
        np.testing.assert_array_equal(drawn.picture, np.rint(ink * 255))
        assert redrawn.picture.shape == ink.shape
        assert cropped.picture.shape == (20, 20)
        np.testing.assert_array_equal(centred.image, prepared.image, strict=True)
        assert {(stage.image.shape, stage.image.dtype) for stage in prepared.stages} == {((28, 28), np.dtype(np.uint8))}

    @pytest.mark.parametrize(
        ("switch", "names"),
        [
            ("strokes", ["As drawn", "Cropped, 20 × 20", "Centred by mass, 28 × 28"]),
            ("crop", ["As drawn", "Strokes as wide as MNIST's", "Centred by mass, 28 × 28"]),
            ("centre", ["As drawn", "Strokes as wide as MNIST's", "Cropped, 20 × 20"]),
        ],
    )
    def test_leaves_out_a_step_that_is_switched_off(self, switch, names):
        prepared = prepare(draw(SEVEN), Preparation(**{switch: False}))

        assert [stage.name for stage in prepared.stages] == names
        np.testing.assert_array_equal(prepared.image, prepared.stages[-1].image, strict=True)

    def test_without_any_step_shrinks_the_sheet(self):
        ink = np.zeros((280, 280), np.float32)
        ink[:10, :20] = 1
        expected = np.zeros((28, 28), np.uint8)
        expected[0, :2] = 255

        picture = to_mnist(ink, Preparation(strokes=False, crop=False, centre=False))

        np.testing.assert_array_equal(picture, expected, strict=True)

    @pytest.mark.parametrize("width", [3, 6, 14, 24])
    @pytest.mark.parametrize("shape", ["seven", "ring", "slash"])
    def test_strokes_are_as_wide_as_in_mnist_whatever_the_pen(self, shape, width):
        picture = to_mnist(draw(SHAPES[shape], width=width))

        assert traits(picture[None]).stroke_width[0] == pytest.approx(2.5, abs=0.35)

    @pytest.mark.parametrize("side", [3, 20, 37, 64])
    def test_crops_by_averaging_areas(self, side):
        crop = np.random.default_rng(side).uniform(0.3, 1, (side, side)).astype(np.float32)

        scaled = prepare(crop, Preparation(strokes=False, centre=False)).stages[-1].picture

        fine = np.kron(crop, np.ones((20, 20)))  # 20 times finer, so that a cell is a block of side x side
        exact = fine.reshape(20, side, 20, side).mean(axis=(1, 3))
        np.testing.assert_allclose(scaled, exact / exact.max() * 255, atol=0.51)


@needs_mnist
class TestMnist:
    def test_enlarged_images_come_back_as_they_were(self):
        x = read_npz(MNIST)[2][:1000]
        # Only those that fill 20x20 and can lie in its middle, and whose outermost rows and columns are dark enough.
        x = np.stack([image for image in x if has_clear_edges(image)])

        pictures = np.stack(
            [
                to_mnist(np.kron(image / np.float32(255), np.ones((5, 5), np.float32)), Preparation(strokes=False))
                for image in x
            ]
        )

        assert len(x) > 100
        np.testing.assert_allclose(pictures.astype(int), x, atol=1)


@pytest.fixture(scope="module")
def digits() -> list[dict]:
    """Digits that people drew: label, writer, box and strokes."""
    with open(STROKES, encoding="utf-8") as file:
        return json.load(file)


@pytest.fixture(scope="module")
def pictures(digits: list[dict]) -> np.ndarray:
    """The same as (n, 28, 28) uint8."""
    return np.stack([to_mnist(ink_from_strokes(digit["strokes"], digit["box"])) for digit in digits])


@needs_strokes
class TestDrawnDigits:
    def test_have_the_amount_of_ink_that_mnist_has(self, pictures):
        assert pictures.mean() == pytest.approx(33.3, abs=2)
        assert pictures[pictures > 0].mean() == pytest.approx(174.3, abs=6)

    def test_are_centred(self, pictures):
        for picture in pictures:
            assert centre_of_mass(picture) == pytest.approx([14, 14], abs=0.5)

    @needs_mnist
    def test_resemble_the_right_mnist_digits(self, digits, pictures):
        x, y = (array[:10_000] for array in read_npz(MNIST)[:2])
        x, drawn = (images.reshape(len(images), 784).astype(np.float32) / 255 for images in (x, pictures))

        nearest = np.argmin((x**2).sum(axis=1) - 2 * drawn @ x.T, axis=1)

        assert (y[nearest] == [digit["label"] for digit in digits]).mean() > 0.9  # 0.929 measured
