"""What strangers, files and exceptions put into the page's words is shown as text, wherever it comes in."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from html import escape

import numpy as np
import pytest

from core.errors import NotExplainable, WorkerLost
from core.evaluation.robustness import DAMAGES, SEVERITIES
from core.model.presets import LENET_5
from core.runs.contents import Robustness
from core.runs.progress import State
from core.views import charts
from ui import messages

PAGES = ("start", "data", "build", "train", "evaluate", "explain", "draw")
LINK, BOLD, LATEX, ICON, COLOUR, EMOJI = "[a](http://b.c)", "**b**", "$x^2$", ":material/delete:", ":red[r]", ":joy:"
HTML = "<img src=x onerror=alert(1)>"
STRANGE = f"{LINK} {BOLD} {LATEX} {ICON} {COLOUR} {EMOJI} {HTML}"
TURNED = "\N{RIGHT-TO-LEFT OVERRIDE}gnp\x1b\N{ZERO WIDTH SPACE}"


def words(at) -> list[str]:
    """Every text of a page that is read as Markdown: bodies, labels and help."""
    found = []
    for element in at:
        if element.type == "text":  # `st.text`, which shows all as it is
            continue
        proto = getattr(element, "proto", None)
        found += [getattr(proto, name) for name in ("body", "label", "help", "text") if hasattr(proto, name)]
    return [text for text in found if isinstance(text, str)]


def is_read_as_more_than_text(text: str) -> bool:
    return any(part in text for part in (LINK, BOLD, LATEX, ICON, COLOUR, EMOJI, f" {HTML}", TURNED[0]))


class TestPlain:
    @pytest.mark.parametrize(
        ("text", "markdown"),
        [
            ("a_b, 3 x 5 (at 12:30): 97.5%, layers.0.Conv2D", "a_b, 3 x 5 (at 12:30): 97.5%, layers.0.Conv2D"),
            ("**b** __c__ _d_ `e` ~f~", "\\*\\*b\\*\\* \\_\\_c\\_\\_ \\_d\\_ \\`e\\` \\~f\\~"),
            ("[a](http://b.c)", "\\[a\\](http:\u2060//b.c)"),
            ("https://b.c www.b.c d@b.c", "https:\u2060//b.c www\u2060.b.c d@\u2060b.c"),
            ("<b>&lt; AT&T", "\\<b>\\&lt; AT&T"),
            ("$x$", "\\$x\\$"),
            (":red[x] :joy: :100: :material/x:", ":\u2060red\\[x\\] :\u2060joy: :\u2060100: :\u2060material/x:"),
            ("# a", "\\# a"),
            ("a -> b >= c", "a -\u2060> b >\u2060= c"),
            ("> a", "\\> a"),
            ("- a", "\\- a"),
            ("1. a", "1\\. a"),
            ("a\n\n# b\r\n\t- c", "a # b - c"),
            ("\\*", "\\\\\\*"),
            ("\u202egnp\u202c \x00\x1b\u200b", "gnp"),
            ("a \u05d0\u05d1 b", "a \u2068\u05d0\u05d1\u2069 b"),
            ("\U0001f469\u200d\U0001f52c", "\U0001f469\u200d\U0001f52c"),
        ],
    )
    def test_what_has_a_meaning_in_markdown_loses_it(self, text, markdown):
        assert messages.plain(text) == markdown

    def test_a_long_text_ends_in_an_ellipsis(self):
        assert messages.plain("a" * 5000) == "a" * 999 + "…"
        assert messages.name("a" * 5000) == "a" * 79 + "…"

    def test_a_files_name_leads_nowhere(self):
        assert messages.file_name('../../a:b\\c\n"d"\u202e') == ".._.._a_b_c _d_"


class TestDoors:
    @pytest.mark.parametrize(
        ("page", "state"),
        [*((page, State.FINISHED) for page in PAGES), ("train", State.FAILED), ("train", State.PAUSED)],
    )
    def test_a_runs_name_and_message(self, visit, make_run, finished_run, page, state):
        run = finished_run if state is State.FINISHED else make_run(state)
        run.write_record(replace(run.record(), name=STRANGE + TURNED, message=STRANGE + TURNED))

        at = visit(page, run)

        assert not at.exception
        assert [text for text in words(at) if is_read_as_more_than_text(text)] == []
        assert page != "draw" or any(messages.name(STRANGE + TURNED) in text for text in words(at))

    @pytest.mark.parametrize("where", ["kind", "field", "value"])
    def test_a_networks_link(self, visit, where):
        layer = {
            "kind": {"kind": STRANGE},
            "field": {"kind": "Flatten", STRANGE: 1},
            "value": {"kind": "Conv2D", "filters": STRANGE},
        }
        content = json.dumps({**LENET_5.experiment.model_dump(mode="json"), "layers": [layer[where]]})
        at = visit("start")
        at.query_params["net"] = base64.urlsafe_b64encode(zlib.compress(content.encode())).decode()

        visit("build", session=at)

        assert len(at.warning) == 1
        assert "\\[a\\](http:\u2060//b.c)" in at.warning[0].value
        assert [text for text in words(at) if is_read_as_more_than_text(text)] == []

    def test_a_runs_link(self, visit):
        at = visit("start", STRANGE[:40])

        assert len(at.warning) == 1
        assert [text for text in words(at) if is_read_as_more_than_text(text)] == []

    def test_a_number_that_is_none(self, visit, choose):
        at = choose(visit("train"), "Learning rate", STRANGE[:40])

        assert any("\\[a\\](http" in caption.value for caption in at.caption)
        assert [text for text in words(at) if is_read_as_more_than_text(text)] == []

    @pytest.mark.parametrize("page", ["build", "data", "train", "evaluate", "explain"])
    @pytest.mark.parametrize("kind", [WorkerLost, NotExplainable])
    def test_what_the_engine_says(self, visit, finished_run, still_engine, monkeypatch, press, page, kind):
        def fail(*_) -> None:
            raise kind(STRANGE)

        monkeypatch.setattr(still_engine, "ask", fail)
        monkeypatch.setattr(still_engine, "wait", fail)
        at = visit(page, None if page == "train" else finished_run)
        if page == "train":
            press(at, "Find a learning rate")

        assert not at.exception
        assert [text for text in words(at) if is_read_as_more_than_text(text)] == []

    def test_a_chart(self):
        """Plotly reads a part of HTML in names."""
        by_severity = np.zeros((len(DAMAGES), SEVERITIES + 1, 0), np.uint8)
        fared = Robustness(0, 1.0, np.ones((len(DAMAGES), SEVERITIES)), 0, by_severity, by_severity, by_severity)

        figure = charts.robustness_curves([(HTML, fared)])

        assert {trace.name for trace in figure.data} == {escape(HTML)}
