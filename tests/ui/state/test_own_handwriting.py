"""The drawings that were kept, in the session, with the visitor or on one's own machine."""

from __future__ import annotations

import numpy as np
import pytest

from core.data import handwriting
from core.errors import StorageFull
from core.runs import registry, visits
from ui.state import own_handwriting, session

IMAGE = np.eye(28, dtype=np.uint8) * 255


@pytest.fixture(params=["this session", "the visitor", "one's own machine"])
def place(request, monkeypatch) -> str:
    """Where drawings are kept."""
    if request.param == "the visitor":
        request.getfixturevalue("known_again")
    if request.param == "one's own machine":
        monkeypatch.setenv("DIGITLAB_LOCAL", "1")
    return request.param


def test_a_drawing_is_kept_and_let_go(place):
    own_handwriting.keep_in_handwriting(IMAGE, 7)
    assert own_handwriting.handwriting().labels.tolist() == [7]
    assert own_handwriting.can_undo_keeping(IMAGE)

    own_handwriting.undo_keeping()

    assert len(own_handwriting.handwriting()) == 0
    assert not own_handwriting.can_undo_keeping(IMAGE)


def test_a_label_that_was_changed_comes_back(place):
    own_handwriting.keep_in_handwriting(IMAGE, 7)
    own_handwriting.keep_in_handwriting(IMAGE, 1)
    assert own_handwriting.handwriting().labels.tolist() == [1]

    own_handwriting.undo_keeping()

    assert own_handwriting.handwriting().labels.tolist() == [7]


def test_any_other_change_leaves_no_keeping_to_undo(place):
    own_handwriting.keep_in_handwriting(IMAGE, 7)

    own_handwriting.change_handwriting(lambda now: now.relabelled(0, 2))
    own_handwriting.undo_keeping()

    assert own_handwriting.handwriting().labels.tolist() == [2]


def test_another_session_of_the_visitor_finds_it(known_again, parts):
    own_handwriting.keep_in_handwriting(IMAGE, 7)
    parts.clear()

    assert own_handwriting.handwriting().labels.tolist() == [7]


def test_where_it_can_t_be_written_it_is_kept_in_the_session_which_is_said(known_again, monkeypatch):
    own_handwriting.keep_in_handwriting(IMAGE, 7)

    def fail(*_):
        raise StorageFull("There is no room.")

    monkeypatch.setattr(handwriting, "change", fail)
    own_handwriting.keep_in_handwriting(IMAGE.T[::-1].copy(), 3)

    assert own_handwriting.handwriting().labels.tolist() == [7, 3]
    assert not session.is_lasting()
    assert "only as long as this tab is open" in session.take_messages()[0]
    assert handwriting.at(visits.folder(registry.root(), known_again)).labels.tolist() == [7]
