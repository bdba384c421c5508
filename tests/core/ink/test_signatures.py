"""A file is told by how it begins, as the libraries that write such files begin it."""

from __future__ import annotations

import gzip
import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from core.ink import signatures


def picture(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, form)
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("a.txt", "a")
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def iso(brand: bytes, *compatible: bytes) -> bytes:
    """The first box of a file of the ISO family, as ISO/IEC 14496-12, 4.3 has it, and some of what follows."""
    content = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return (len(content) + 4).to_bytes(4, "big") + content + b"\0\0\0\x08free"


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("PNG", "a PNG picture"),
        ("JPEG", "a JPEG picture"),
        ("GIF", "a GIF picture"),
        ("BMP", "a BMP picture"),
        ("TIFF", "a TIFF picture"),
        ("WEBP", "a WebP picture"),
        ("ICO", "a Windows icon"),
        ("PDF", "a PDF document"),
        ("EPS", "a PostScript document"),
    ],
)
def test_what_pillow_writes_is_known(form, kind):
    assert signatures.kind(picture(form)) == kind


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (archive(), "a ZIP archive or an Office document"),
        (gzip.compress(b"a", mtime=0), "a packed archive"),
        (array(), "a NumPy array"),
        (b'<?xml version="1.0"?>\n<SVG xmlns="http://www.w3.org/2000/svg"/>', "an SVG picture"),
        (b"\n<!DOCTYPE html><title>A page</title>", "a web page"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a sound"),
        (b"RIFF\x24\0\0\0AVI LIST", "a video"),
    ],
)
def test_what_is_no_picture_of_pillow_s_is_known_too(content, kind):
    assert signatures.kind(content) == kind


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (iso(b"avif", b"mif1", b"avif"), "an AVIF picture"),
        (iso(b"heic", b"mif1", b"heic"), "a HEIC picture"),
        (iso(b"mif1", b"heic"), "a HEIC picture"),
        (iso(b"mif1", b"miaf"), "a HEIF picture"),
        (iso(b"isom", b"avc1"), "a video"),
        (iso(b"isom") + b"heic", "a video"),  # what stands beyond the box is none of its kinds
    ],
)
def test_of_a_file_of_many_kinds_its_own_counts(content, kind):
    assert signatures.kind(content) == kind


@pytest.mark.parametrize("content", [b"", b"\0", b"a text without any markup", bytes(2000)])
def test_what_is_not_known_has_no_kind(content):
    assert signatures.kind(content) == ""


def test_a_page_that_says_what_it_is_after_its_head_is_not_known():
    assert signatures.kind(b" " * 2000 + b"<html>") == ""
