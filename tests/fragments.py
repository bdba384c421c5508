"""HTML that the lab makes, read back: its tags, what it says, and the pictures in it."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser

import numpy as np
from PIL import Image

VOID = {"img", "br"}


class Fragment(HTMLParser):
    """A piece of HTML; fails where a tag is closed that isn't the last opened.

    Attributes:
        said: what it tells those who can't see it, in order: its `aria-label`s.
        alts: what each picture is, in order.
        images: the pixels of each that is a PNG, in order.
        widths: of each element whose width is given in per cent, in order.
        text: what stands in it.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.alts: list[str] = []
        self.images: list[np.ndarray] = []
        self.widths: list[float] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._open.append(tag)
        given = {name: value or "" for name, value in attrs}
        if "aria-label" in given:
            self.said.append(given["aria-label"])
        if tag == "img":
            self.alts.append(given["alt"])
            kind, _, content = given["src"].partition(";base64,")
            if kind == "data:image/png":
                self.images.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))))
        for rule in given.get("style", "").split(";"):
            name, _, value = rule.partition(":")
            if name == "width" and value.endswith("%"):
                self.widths.append(float(value[:-1]))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
