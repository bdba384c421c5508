"""The kind of a file, recognised by its first bytes and not by its name."""

from __future__ import annotations

_BEGINNINGS = {
    b"\x89PNG\r\n\x1a\n": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"\0\0\0\x0cjP  \r\n\x87\n": "a JPEG 2000 picture",
    b"\xff\x4f\xff\x51": "a JPEG 2000 picture",
    b"\0\0\0\x0cJXL \r\n\x87\n": "a JPEG XL picture",
    b"\xff\x0a": "a JPEG XL picture",
    b"II\xbc\x01": "a JPEG XR picture",
    b"8BPS": "a Photoshop picture",
    b"\0\0\1\0": "a Windows icon",
    b"%!PS": "a PostScript document",
    b"{\\rtf": "a text document",
    b"PK\3\4": "a ZIP archive or an Office document",
    b"\x1f\x8b": "a packed archive",
    b"Rar!": "an RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"\x1aE\xdf\xa3": "a video",
    b"\x93NUMPY": "a NumPy array",
}
# What stands behind "ftyp", which many kinds begin with; see the register at mp4ra.org.
_BRANDS = {
    b"avif": "an AVIF picture",
    b"avis": "an AVIF picture",
    b"heic": "a HEIC picture",
    b"heix": "a HEIC picture",
    b"heim": "a HEIC picture",
    b"heis": "a HEIC picture",
    b"hevc": "a HEIC picture",
    b"hevx": "a HEIC picture",
    b"crx ": "a camera's raw picture",
}
_HEAD = 1024  # bytes in which a PDF or a page of HTML may say what it is


def kind(content: bytes) -> str:
    """Return a file's kind, as in "a HEIC picture"; empty if it isn't known."""
    head = content[:_HEAD]
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"AVI ", b"WAVE"):
        return "a WebP picture" if head[8:12] == b"WEBP" else "a video" if head[8:12] == b"AVI " else "a sound"
    if b"%PDF-" in head:
        return "a PDF document"
    lower = head.lower()
    if b"<svg" in lower:
        return "an SVG picture"
    if b"<html" in lower or b"<!doctype html" in lower:
        return "a web page"
    return next((name for beginning, name in _BEGINNINGS.items() if head.startswith(beginning)), "")


def _of_brands(head: bytes) -> str:
    """Return the kind of a file whose first box lists its brands, the main one first; a general brand is followed by a
    specific one."""
    length = int.from_bytes(head[:4], "big")
    brands = [head[8:12], *(head[place : place + 4] for place in range(16, min(length, len(head)), 4))]
    found = next((_BRANDS[brand] for brand in brands if brand in _BRANDS), "")
    return found or ("a HEIF picture" if head[8:12] in (b"mif1", b"msf1") else "a video")
