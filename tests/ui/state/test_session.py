"""The parts of a session, its widgets and its messages."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamlit.testing.v1 import AppTest

from ui.state import session


@dataclass
class Notes:
    """A part as any module may have one."""

    lines: list[str] = field(default_factory=list)


def test_a_part_is_made_once_per_session(parts):
    session.part(Notes).lines.append("first")

    assert session.part(Notes) is session.part(Notes)
    assert session.part(Notes) == Notes(["first"])
    parts.clear()
    assert session.part(Notes) == Notes()


def test_parts_of_one_name_in_two_modules_are_two():
    @dataclass
    class Other:
        lines: tuple = ()

    Other.__qualname__ = Notes.__qualname__
    Other.__module__ = "elsewhere"

    assert session.part(Other) == Other()
    assert session.part(Notes) == Notes()


def test_a_class_that_is_loaded_anew_finds_its_part():
    session.part(Notes).lines.append("kept")
    again = type("Notes", (), {"__module__": Notes.__module__, "__qualname__": Notes.__qualname__})

    assert session.part(again).lines == ["kept"]


def test_the_visitor_stays_the_same_all_session(monkeypatch):
    before = session.visitor()
    monkeypatch.setattr(session, "_visitor", lambda: ("another", True))

    assert session.visitor() == before
    assert not session.is_lasting()


def test_messages_and_a_destination_are_taken_once():
    session.say("One")
    session.say("Two")
    session.head_for("pages/train.py", "Go on")

    assert session.take_messages() == ["One", "Two"]
    assert session.take_messages() == []
    assert session.take_destination() == ("pages/train.py", "Go on")
    assert session.take_destination() is None


def test_the_first_request_alone_finds_nothing_painted():
    assert [session.was_painted() for _ in range(3)] == [False, True, True]


def test_a_question_is_answered_as_was_said_last():
    assert session.is_wanted("a question", True)
    session.want("a question", False)
    assert not session.is_wanted("a question", True)


def test_what_was_found_stands_until_the_next_is_found():
    session.keep_looked_up("nearest", (1,), "a seven")
    session.keep_looked_up("nearest", (2,), None)

    assert session.looked_up("nearest", (1,)) == "a seven"
    assert session.looked_up("nearest", (2,)) is None
    assert session.looked_up_last("nearest") == "a seven"
    assert session.looked_up_last("pixels") is None


def _field() -> None:
    import streamlit as st

    from ui.state import session

    held = st.session_state.setdefault("held", "0.5")

    def act(chosen: str) -> None:
        st.session_state.held = chosen
        st.session_state.setdefault("heard", []).append(chosen)

    st.text_input("A number", **session.showing("number", held, act, float))


def test_a_field_that_the_lab_changes_gets_another_key_and_is_not_heard():
    at = AppTest.from_function(_field, default_timeout=60).run()
    key = at.text_input[0].key
    at.session_state["held"] = "0.75"

    at.run()

    assert at.text_input[0].value == "0.75"
    assert at.text_input[0].key != key
    assert "heard" not in at.session_state


def test_a_field_that_is_filled_in_acts_and_keeps_its_key():
    at = AppTest.from_function(_field, default_timeout=60).run()
    key = at.text_input[0].key

    at.text_input[0].set_value("0.25").run()

    assert at.session_state["heard"] == ["0.25"]
    assert (at.text_input[0].key, at.text_input[0].value) == (key, "0.25")


def test_a_value_that_is_written_otherwise_and_means_the_same_is_no_change():
    at = AppTest.from_function(_field, default_timeout=60).run()
    key = at.text_input[0].key

    at.text_input[0].set_value("0.50").run()

    assert "heard" not in at.session_state
    assert at.text_input[0].key == key


def _address() -> None:
    import streamlit as st

    from ui.state import session

    st.text(f"{session.parameter('run')}")
    session.set_parameter("run", "another")
    session.set_parameter("net", None)


def test_the_address_is_read_and_written():
    at = AppTest.from_function(_address, default_timeout=60)
    at.query_params["run"], at.query_params["net"] = "one", "a network"

    at.run()

    assert at.text[0].value == "one"
    assert at.query_params["run"] in ("another", ["another"])
    assert "net" not in at.query_params
