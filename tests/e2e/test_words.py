"""What others put into an address is text in the page, and not what Markdown makes of it."""

import base64
import json
import zlib

import pytest
from playwright.sync_api import expect

from core.model.presets import LENET_5

STRANGE = (
    "[a](http://b.c) https://b.c www.b.c d@b.c **b** _i_ __u__ `c` ~~s~~ $x^2$ $$y$$ :red[r] :blue-badge[b] "
    ":material/delete: :joy: :+1: :100: <b>h</b> <img src=x onerror=alert(1)> &lt; -> <- >= <= ~= -- # - 1. > | a\u05d0\u05d1"
)
MADE_BY_MARKDOWN = (
    "a, em, strong, code, del, b, img, .katex, [data-testid=stIconMaterial], [style*=color], [class*=badge]"
)


def link(kind: str) -> str:
    """A network whose only layer is of this kind, as an address holds it."""
    content = json.dumps({**LENET_5.experiment.model_dump(mode="json"), "layers": [{"kind": kind}]})
    return base64.urlsafe_b64encode(zlib.compress(content.encode(), 9)).decode()


@pytest.fixture
def visible():
    """A function of an element: its text, without the signs that take no room."""
    return lambda shown: shown.inner_text().translate(dict.fromkeys(map(ord, "\u2060\u2068\u2069")))


def test_a_layers_kind_in_a_link_is_shown_as_it_is(server, page, visible):
    page.goto(f"{server.url}/?net={link(STRANGE)}")
    said = page.get_by_test_id("stAlert").filter(has_text="This link's network can't be used.")
    shown = said.get_by_test_id("stMarkdownContainer")
    expect(shown).to_contain_text("[a](http:")

    assert STRANGE in visible(shown)
    assert shown.locator(MADE_BY_MARKDOWN).count() == 0
