"""Pictures of handwriting become ink, whatever camera, paper and file format; what can't is refused in a sentence."""

import io
import re
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageFilter

from core.errors import DrawingError
from core.ink import photo
from core.ink.preparation import ink_from_picture, ink_from_strokes

FIVE = [[[70, 50], [65, 95], [110, 95], [125, 130], [100, 150], [60, 140]], [[70, 50], [120, 48]]]
SIDE = 320
FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"]
UNTURNED = {  # by the EXIF orientation: how what is upright was turned when it was kept
    1: [],
    2: [Image.Transpose.FLIP_LEFT_RIGHT],
    3: [Image.Transpose.ROTATE_180],
    4: [Image.Transpose.FLIP_TOP_BOTTOM],
    5: [Image.Transpose.TRANSPOSE],
    6: [Image.Transpose.ROTATE_90],
    7: [Image.Transpose.TRANSVERSE],
    8: [Image.Transpose.ROTATE_270],
}


@pytest.fixture(scope="module")
def ink() -> np.ndarray:
    """What was written, (320, 320) float32."""
    return ink_from_strokes(FIVE, (200, 200), SIDE, 9)


def photographed(ink: np.ndarray, light: np.ndarray | float = 0.9, paper: np.ndarray | float = 1.0) -> np.ndarray:
    """Dark ink on paper of this reflectance under this light, a little blurred, with grain: (h, w) uint8."""
    grey = light * paper * (1 - 0.75 * ink)
    soft = Image.fromarray((grey * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1))
    grain = np.random.default_rng(0).normal(0, 5, ink.shape)
    return np.clip(np.asarray(soft) + grain, 0, 255).astype(np.uint8)


def file(picture: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(buffer, kind, **options)
    return buffer.getvalue()


def overlap(found: np.ndarray, ink: np.ndarray) -> float:
    """Intersection over union of what is inked, 0..1."""
    found, ink = found >= 0.5, ink >= 0.5
    return (found & ink).sum() / (found | ink).sum()


def lit() -> dict[str, np.ndarray]:
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    return {
        "gradient": 0.35 + 0.6 * (0.7 * x + 0.3 * y),
        "shadow's edge": 0.9 - 0.4 / (1 + np.exp(-30 * (x + 0.6 * y - 0.8))),
        "dark shadow's edge": 0.9 - 0.55 / (1 + np.exp(-100 * (0.45 - x))),
        "vignette": 0.95 - 1.1 * ((x - 0.5) ** 2 + (y - 0.5) ** 2),
    }


def ruled(step: int, is_squared: bool, tilt: float) -> np.ndarray:
    lines = np.ones((2 * SIDE, 2 * SIDE), np.float32)
    lines[::step] = 0.55
    if is_squared:
        lines[:, ::step] = 0.55
    whole = np.asarray(Image.fromarray(lines).rotate(tilt, Image.Resampling.BILINEAR))
    return whole[SIDE // 2 : -SIDE // 2, SIDE // 2 : -SIDE // 2]


class TestInkFromPicture:
    @pytest.mark.parametrize("kind", FORMATS)
    @pytest.mark.parametrize("is_dark_on_light", [True, False])
    def test_finds_the_ink_in_every_format(self, ink, kind, is_dark_on_light):
        grey = photographed(ink)

        found = ink_from_picture(file(grey if is_dark_on_light else 255 - grey, kind))

        assert (found.shape, found.dtype) == (ink.shape, np.float32)
        assert overlap(found, ink) > 0.8

    @pytest.mark.parametrize("light", lit())
    def test_looks_through_uneven_light(self, ink, light):
        assert overlap(ink_from_picture(file(photographed(ink, lit()[light]), "JPEG")), ink) > 0.75

    @pytest.mark.parametrize(("is_squared", "tilt"), [(False, 0), (False, 2.5), (True, 0), (True, -2)])
    def test_takes_the_papers_lines_away(self, ink, is_squared, tilt):
        assert overlap(ink_from_picture(file(photographed(ink, paper=ruled(37, is_squared, tilt)), "JPEG")), ink) > 0.75

    def test_leaves_out_specks_and_the_table_around_the_paper(self, ink):
        grey = photographed(ink)
        grey[:, :25] = 20
        grey[60:64, 290:294] = 30

        found = ink_from_picture(file(grey))

        assert not found[:, :28].any()
        assert not found[55:70, 280:300].any()
        assert overlap(found, ink) > 0.8

    def test_a_pencil_is_enough(self, ink):
        assert overlap(ink_from_picture(file(photographed(ink * 0.5), "JPEG")), ink) > 0.7

    @pytest.mark.parametrize(("ink_grey", "paper_grey"), [(160, 255), (210, 255), (60, 0), (110, 40)])
    @pytest.mark.parametrize("side", [20, 28, 48, 64])
    def test_pale_ink_of_one_plain_colour_is_found(self, side, ink_grey, paper_grey):
        grey = np.full((side, side), paper_grey, np.uint8)
        grey[side // 5 : -side // 5, side // 2 : side // 2 + side // 10] = ink_grey

        found = ink_from_picture(file(grey))

        assert overlap(found, grey == ink_grey) > 0.4

    @pytest.mark.parametrize("shape", [(1, 1), (1, 3), (2, 1)])
    def test_a_picture_of_hardly_a_pixel_is_told(self, shape):
        with pytest.raises(DrawingError, match="Nothing stands out"):
            ink_from_picture(file(np.zeros(shape, np.uint8)))

    def test_each_step_is_shown_and_can_be_left_out(self, ink):
        lines = ruled(37, False, 0) ** 2
        grey = photographed(ink, paper=np.minimum(lines, np.roll(lines, 1, axis=0))).astype(np.float32) / 255
        grey[78:84, 290:294] = 0.1

        whole, without = photo.steps(grey), photo.steps(grey, lines=False, specks=False)

        assert [name for name, _ in whole] == [
            "The picture",
            "Paper taken away",
            "Ruled lines taken away",
            "Specks and rim taken away",
        ]
        assert [name for name, _ in without] == ["The picture", "Paper taken away"]
        assert all(found.dtype == np.float32 and 0 <= found.min() <= found.max() <= 1 for _, found in whole)
        assert overlap(whole[-1][1], ink) > 0.75
        assert (without[-1][1] > 0).sum() > 1.2 * (whole[-1][1] > 0).sum()
        assert whole[2][1][78:84, 290:294].any() > whole[3][1][78:84, 290:294].any()

    def test_light_taken_as_even_leaves_shadows_in(self, ink):
        grey = photographed(ink, lit()["dark shadow's edge"]).astype(np.float32) / 255

        assert overlap(photo.ink_on_paper(grey), ink) > 0.75 > overlap(photo.ink_on_paper(grey, light=False), ink)

    def test_a_digit_cropped_to_its_edges_is_kept(self):
        grey = np.full((100, 60), 250, np.uint8)
        grey[:, 25:35] = 10

        assert ink_from_picture(file(grey)).any()

    @pytest.mark.parametrize("orientation", UNTURNED)
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
    def test_turns_a_photo_upright(self, ink, kind, orientation):
        exif, picture = Image.Exif(), Image.fromarray(photographed(ink)).convert("RGB")
        exif[ExifTags.Base.Orientation] = orientation
        for turn in UNTURNED[orientation]:
            picture = picture.transpose(turn)

        assert overlap(ink_from_picture(file(picture, kind, exif=exif)), ink) > 0.75

    def test_a_portrait_with_its_depth_beside_it_is_read(self, ink):
        picture, depth = Image.fromarray(photographed(ink)), Image.new("L", (80, 80), 128)

        assert overlap(ink_from_picture(file(picture, "MPO", save_all=True, append_images=[depth])), ink) > 0.75

    @pytest.mark.parametrize("opacity", [0.4, 1.0])
    @pytest.mark.parametrize("hidden", [0, 255], ids=["black", "white"])
    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
    def test_colours_that_are_not_seen_do_not_count(self, ink, kind, hidden, opacity):
        """Ink that lets paper through, on paper that is not there but has a colour."""
        rgba = np.full((SIDE, SIDE, 4), hidden, np.uint8)
        rgba[ink > 0, :3] = 40
        rgba[..., 3] = np.rint(255 * opacity * ink)

        assert overlap(ink_from_picture(file(rgba, kind)), ink) > 0.8

    @pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 60)])
    def test_a_transparent_picture_is_its_own_ink(self, ink, colour):
        rgba = np.zeros((SIDE, SIDE, 4), np.uint8)
        rgba[..., :3] = colour
        rgba[..., 3] = np.rint(ink * 255)

        for picture in (Image.fromarray(rgba), Image.fromarray(rgba).convert("LA")):
            assert overlap(ink_from_picture(file(picture)), ink) > 0.8

    @pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "I;16", "RGB", "F", "I"])
    def test_reads_every_kind_of_pixel(self, ink, mode):
        grey = photographed(ink)
        match mode:
            case "I;16":
                picture = Image.fromarray(grey.astype(np.uint16) * 257)
            case "F" | "I":
                picture = Image.fromarray(grey.astype(np.float32 if mode == "F" else np.int32) * 100)
            case "P":
                picture = Image.fromarray(grey).convert("RGB").quantize(16)
            case _:
                picture = Image.fromarray(grey).convert("RGB").convert(mode, dither=Image.Dither.NONE)

        assert overlap(ink_from_picture(file(picture, "TIFF" if mode in ("CMYK", "F", "I") else "PNG")), ink) > 0.7

    @pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
    def test_takes_the_first_of_several_frames(self, ink, kind):
        first, second = Image.fromarray(photographed(ink)), Image.fromarray(photographed(ink[::-1].copy()))

        assert overlap(ink_from_picture(file(first, kind, save_all=True, append_images=[second])), ink) > 0.75

    def test_a_large_photo_becomes_a_small_one(self, ink):
        large = Image.fromarray(photographed(ink)).resize((3000, 2000))

        assert ink_from_picture(file(large, "JPEG")).shape == (373, photo.SIDE)


class TestRefusals:
    def test_no_picture(self):
        for content in (b"", b"GIF89a, or so it says", b"%PDF-1.7", bytes(1000)):
            with pytest.raises(DrawingError, match="expected a PNG, JPEG, WebP"):
                ink_from_picture(content)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "an empty file. Choose it again."),
            (bytes(1000), "something else. Save the picture as a PNG"),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture. Save it as a JPEG .* An iPhone"),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf", "a HEIC picture"),
            (b"\0\0\0\x14ftypmif1\0\0\0\0mif1", "a HEIF picture"),
            (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "a video. Take a screenshot"),
            (b"\0\0\0\x14ftypavif\0\0\0\0avif", "an AVIF picture that is damaged or cut short"),
            (file(Image.new("L", (9, 9)), "JPEG2000"), "a JPEG 2000 picture. Save it as a PNG or JPEG file"),
            (file(Image.new("L", (9, 9)), "PDF"), "a PDF document. Take a screenshot of the digit"),
            (file(Image.new("L", (9, 9)), "ICO"), "a Windows icon"),
            (file(Image.new("L", (9, 9)), "EPS"), "a PostScript document"),
            (b"\xff\x0a" + bytes(50), "a JPEG XL picture"),
            (b"8BPS" + bytes(50), "a Photoshop picture"),
            (b"PK\3\4" + bytes(50), "a ZIP archive or an Office document"),
            (b"<!DOCTYPE html><title>Not found</title>", "a web page"),
            (file(Image.new("L", (9, 9)))[:40], "a PNG picture that is damaged or cut short"),
            (b"RIFF\x24\0\0\0WAVEfmt ", "a sound"),
        ],
    )
    def test_what_a_file_is_instead_is_named_and_what_to_do(self, content, said):
        with pytest.raises(DrawingError, match=f"received {said}") as refused:
            ink_from_picture(content)

        assert not re.search(r"object at|BytesIO|Error|\(", str(refused.value))

    @settings(deadline=None, max_examples=60)
    @given(kind=st.sampled_from(FORMATS), place=st.integers(0, 2**16), damage=st.binary(min_size=1, max_size=6))
    def test_damage_is_refused_in_a_sentence_or_harmless(self, kind, place, damage):
        content = file(Image.linear_gradient("L").resize((40, 40)), kind)
        place %= len(content)

        said = ""
        try:
            ink_from_picture(content[:place] + damage + content[place + len(damage) :])
        except DrawingError as refused:
            said = str(refused)

        assert "object at" not in said

    def test_shapes_without_pixels(self):
        with pytest.raises(DrawingError, match=r"an SVG picture, which holds shapes and no pixels\. Save it as a PNG"):
            ink_from_picture(b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"></svg>')

    @pytest.mark.parametrize("kind", FORMATS)
    def test_a_file_cut_short(self, ink, kind):
        content = file(photographed(ink), kind)

        with pytest.raises(DrawingError, match=r"^The picture can't be read"):
            ink_from_picture(content[: len(content) // 2])

    @pytest.mark.parametrize("grey", [0, 128, 255])
    def test_nothing_on_it(self, grey):
        with pytest.raises(DrawingError, match="Nothing stands out"):
            ink_from_picture(file(np.full((50, 50), grey, np.uint8)))

    def test_too_many_bytes(self):
        with pytest.raises(DrawingError, match=r"at most 10 MB, received 10\.0 MB"):
            ink_from_picture(bytes(photo.MAX_BYTES + 1))

    @pytest.mark.parametrize("side", [7000, 10_000, 20_000])
    def test_too_many_pixels(self, side):
        content = file(Image.new("1", (side, side)))

        with pytest.raises(DrawingError, match=r"The picture is too large"):
            ink_from_picture(content)

    @pytest.mark.parametrize(
        ("kind", "options"),
        [("WEBP", {"method": 0}), ("JPEG", {"progressive": True}), ("TIFF", {"compression": "group4"})],
    )
    def test_pixels_that_their_format_would_hold_many_times_over(self, kind, options):
        content = file(Image.new("1" if kind == "TIFF" else "L", (5100, 5100)), kind, **options)

        with pytest.raises(DrawingError, match=r"expected at most (12\.5|25) million pixels, received 5100 × 5100"):
            ink_from_picture(content)

    def test_a_small_picture_in_a_huge_tile(self):
        entries = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: 30_000, 323: 30_000, 324: 8, 325: 1}
        tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
        content = b"II*\0" + struct.pack("<IIH", 12, 0, len(entries)) + tags + bytes(4)

        with pytest.raises(DrawingError, match="received 30000 × 30000"):
            ink_from_picture(content)


LARGEST = """
    import io, resource, sys
    import numpy as np
    from PIL import Image
    from core.ink import photo
    from core.errors import DrawingError

    kind, mode = sys.argv[1:]
    pixels = {"JPEG": photo.MAX_PIXELS_JPEG, "WEBP": photo.MAX_PIXELS_WEBP}.get(kind, photo.MAX_PIXELS)
    width = int((pixels * 4 / 3) ** 0.5) // 8 * 8
    size = width, pixels // width
    paper, ink = {"RGBA": ((255, 255, 255, 200), (0, 0, 0, 255)), "RGB": ((255,) * 3, (0,) * 3)}.get(mode, (255, 0))
    picture = Image.new(mode, size, paper)
    picture.paste(ink, (width // 3, width // 5, width // 2, width // 2))
    buffer = io.BytesIO()
    picture.save(buffer, kind, **{"PNG": {"compress_level": 1}, "TIFF": {"compression": "tiff_deflate"}}.get(kind, {}))
    del picture
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)
    print(photo.ink_from_picture(buffer.getvalue()).any())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is of Linux")
@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", "RGBA"), ("JPEG", "RGB"), ("WEBP", "RGBA"), ("TIFF", "F"), ("TIFF", "I"), ("TIFF", "RGBA")],
)
def test_the_largest_picture_allowed_is_read_within_bounded_memory(kind, mode):
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LARGEST), kind, mode],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "True\n"


CIRCLE = [[[100 + 62 * np.sin(t), 100 - 70 * np.cos(t)] for t in np.linspace(0.2, 6.2, 40)]]
LARGE_SEVEN = [[[40, 30], [150, 32], [148, 60], [50, 180]]]


@pytest.mark.parametrize("is_chalk", [False, True], ids=["pen", "chalk"])
@pytest.mark.parametrize("light", [0.35, 0.6, 0.9])
@pytest.mark.parametrize("width", [5, 12, 22])
@pytest.mark.parametrize("strokes", [CIRCLE, LARGE_SEVEN], ids=["circle", "seven"])
def test_large_writing_in_dim_light_is_told_from_its_paper(strokes, width, light, is_chalk):
    written = ink_from_strokes(strokes, (200, 200), SIDE, width)
    picture = photographed(written, light)

    found = ink_from_picture(file(255 - picture if is_chalk else picture))

    assert overlap(found, written) > 0.6
