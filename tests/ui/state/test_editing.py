"""The draft with its undo, and its layers."""

from __future__ import annotations

import pytest

from core.model.presets import FIRST_CNN
from core.model.specs import MAX_LAYERS, Dropout, Flatten, replaced
from ui.state import editing, session
from ui.state.editing import Editing


def epochs(count: int) -> None:
    editing.edit_training(replaced(editing.training(), epochs=count))


def test_a_session_begins_with_the_first_network():
    assert editing.draft().experiment == FIRST_CNN.experiment
    assert not editing.can_undo()
    assert not editing.can_redo()


def test_undo_and_redo_lead_back_and_forth():
    epochs(3)
    epochs(4)

    editing.undo()
    assert (editing.training().epochs, editing.can_redo()) == (3, True)
    editing.redo()
    assert (editing.training().epochs, editing.can_redo()) == (4, False)


def test_an_edit_after_an_undo_leaves_nothing_to_redo():
    epochs(3)
    editing.undo()
    epochs(4)
    editing.redo()

    assert editing.training().epochs == 4


def test_an_edit_that_changes_nothing_is_none():
    epochs(editing.training().epochs)

    assert not editing.can_undo()


def test_only_so_many_drafts_are_kept_for_undo():
    for count in range(2 * session.MAX_UNDO):
        epochs(1 + count % 2)

    assert session.MAX_UNDO <= len(session.part(Editing).undo) <= session.MAX_UNDO + 1


def test_there_is_nothing_to_undo_at_either_end():
    before = editing.draft()

    editing.undo()
    editing.redo()

    assert editing.draft() == before


def test_a_layer_that_is_added_is_last_and_open():
    editing.add_layer(Dropout())
    added = editing.draft().layer_ids[-1]

    assert editing.layer(added) == Dropout()
    assert editing.is_open(added)
    editing.open_or_close(added)
    assert not editing.is_open(added)


def test_a_full_stack_has_no_room_and_switches_nothing_on():
    editing.remove_all_layers()
    editing.add_layer(Flatten())
    off = editing.draft().layer_ids[-1]
    editing.switch_layer(off)
    editing.use_network((Dropout(),) * MAX_LAYERS)
    before = editing.draft()
    assert not editing.has_room()

    editing.switch_layer(off)

    assert editing.draft() == before
    assert f"at most {MAX_LAYERS} layers" in session.take_messages()[0]


def test_a_refusal_is_said_and_changes_the_draft_s_version():
    before = editing.draft_version()

    editing.refuse("That can't be.")

    assert editing.draft_version() != before
    assert session.take_messages() == ["That can't be."]


@pytest.mark.parametrize("is_lasting", [False, True])
def test_a_link_becomes_the_draft_once(monkeypatch, request, is_lasting):
    if is_lasting:
        request.getfixturevalue("known_again")
    epochs(7)
    address = {"net": editing.link("").partition("=")[2]}
    monkeypatch.setattr(session, "parameter", address.get)
    monkeypatch.setattr(session, "set_parameter", lambda name, _: address.pop(name))
    editing.use_preset(FIRST_CNN.name)

    editing.follow_url()
    assert editing.training().epochs == 7
    assert ("net" in address) is not is_lasting
    epochs(8)
    editing.follow_url()

    assert editing.training().epochs == 8


def test_a_link_that_is_damaged_is_said(monkeypatch):
    monkeypatch.setattr(session, "parameter", {"net": "no network"}.get)
    before = editing.draft()

    editing.follow_url()

    assert editing.draft() == before
    assert len(session.take_messages()) == 1
