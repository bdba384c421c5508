"""Whatever a browser sends in a component's name is one of our own answers or nothing."""

from types import SimpleNamespace

import numpy as np
import pytest

from core.data.questions import DrawMap
from core.errors import DrawingError
from core.views import pictures
from ui.data import digit_map
from ui.explain import feature_map
from ui.state import session
from ui.widgets import given_pictures, picture_strip

HOSTILE = {
    "nothing": None,
    "a text": "1",
    "a number": 7,
    "a truth": True,
    "a fraction": 0.5,
    "not a number": float("nan"),
    "infinity": float("inf"),
    "a huge number": 10**400,
    "below zero": [-1, -1],
    "beyond": [9, 9],
    "fractions": [0.5, 1.0],
    "not numbers": [float("nan"), float("inf")],
    "truths": [True, False],
    "texts": ["0", "1"],
    "nested": [[0], [1]],
    "too many": [0] * 100_000,
    "too few": [],
    "names": {"0": 1},
    "nothings": [None, None],
    "surrogates": "\ud800;base64,\ud800",
}


class Browser:
    """A component whose page sends a value, at once and in its callbacks."""

    def __init__(self, sent: object) -> None:
        self.sent, self.callbacks = sent, []

    def __call__(self, *_: object) -> "Browser.shown":
        return self.shown

    def shown(self, **arguments: object) -> SimpleNamespace:
        self.callbacks = [value for name, value in arguments.items() if name.startswith("on_")]
        return SimpleNamespace(chosen=self.sent, pasted=self.sent)


@pytest.fixture(params=HOSTILE.values(), ids=HOSTILE)
def sent(request) -> object:
    return request.param


def test_a_strip_of_pictures_chooses_one_of_them_or_none(sent, monkeypatch):
    monkeypatch.setattr(picture_strip, "component", Browser(sent))

    chosen = picture_strip.strip([np.zeros((28, 28), np.uint8)], [1], ["1"], "Drawn", "Bring back", "drawn")

    assert chosen is None


def test_a_map_of_digits_picks_some_of_them_or_none(sent, dataset, monkeypatch):
    monkeypatch.setattr(digit_map, "component", Browser(sent))
    points, labels = np.zeros((2, 2), np.float32), np.array([3, 8])

    picked = digit_map._map(dataset, np.array([0, 1]), points, labels, None, digit_map.LABEL, DrawMap(2, "pca"))

    assert picked == ([0] if sent == [0] * 100_000 else [])


@pytest.mark.parametrize("keys", [("chosen", "pointed"), ()], ids=["sent", "left out"])
def test_a_feature_map_tells_of_its_own_units_alone(sent, keys, monkeypatch):
    browser, told = Browser(sent), []
    monkeypatch.setattr(feature_map, "component", browser)
    monkeypatch.setattr(session, "component_value", lambda key: dict.fromkeys(keys, sent))
    spans = [(0, 3), (1, 4)]
    image, values = np.zeros((28, 28), np.uint8), np.zeros((2, 2))
    feature_map.feature_map(
        image,
        values,
        spans,
        spans,
        (0, 0),
        (0, 0),
        "A map.",
        lambda *unit: told.append(unit),
        lambda *unit: told.append(unit),
    )

    for callback in browser.callbacks:
        callback()

    assert len(browser.callbacks) == 2
    assert told == []


def test_a_unit_that_is_there_is_told(monkeypatch):
    browser, told = Browser(None), []
    monkeypatch.setattr(feature_map, "component", browser)
    monkeypatch.setattr(session, "component_value", lambda key: {"chosen": [1, 0], "pointed": [0, 1]})
    spans = [(0, 3), (1, 4)]
    image, values = np.zeros((28, 28), np.uint8), np.zeros((2, 2))
    feature_map.feature_map(
        image,
        values,
        spans,
        spans,
        (0, 0),
        (0, 0),
        "A map.",
        lambda *unit: told.append(unit),
        lambda *unit: told.append(unit),
    )

    for callback in browser.callbacks:
        callback()

    assert told == [(1, 0), (0, 1)]


def test_what_is_pasted_is_a_picture_or_said_to_be_none(sent):
    with pytest.raises(DrawingError):
        given_pictures._keep(given_pictures._content(sent))


def test_files_that_were_read_are_not_kept_in_memory(components):
    from streamlit.testing.v1 import AppTest

    def page() -> None:
        import streamlit as st
        from streamlit.runtime.scriptrunner import get_script_run_ctx

        from ui.state import surfaces
        from ui.widgets import given_pictures

        surfaces.choose_draw_source("Picture")
        given_pictures.files()
        context = get_script_run_ctx()
        st.text(f"{len(context.uploaded_file_mgr.file_storage[context.session_id])} files")

    at = AppTest.from_function(page)
    at._bidi_component_manager = components
    at.run()
    picture = np.full((60, 60), 255, np.uint8)
    picture[10:50, 28:34] = 0
    files = [(f"{k}.png", pictures.png(picture), "image/png") for k in range(40)]

    at.file_uploader(key="picture-files").set_value(files).run()

    assert not at.exception
    assert at.text[0].value == "0 files"
    assert [error.value for error in at.error] == ["Only the first 12 files were read."]
