"""Numbers that are typed."""

from __future__ import annotations

from ui.state import numbers


def test_a_number_is_as_usual_until_it_is_set():
    assert numbers.number("rate", 0.001) == 0.001
    numbers.set_number("rate", None)
    assert numbers.number("rate", 0.001) is None


def test_a_refused_number_is_kept_while_its_field_stands_for_the_same_value():
    numbers.refuse_number("epochs", 10, "1.5", "Expected a whole number.")

    assert numbers.refused_number("epochs", 10) == ("1.5", "Expected a whole number.")
    assert numbers.refused_number("epochs", 12) is None
    assert numbers.refused_number("batch_size", 10) is None


def test_a_number_that_is_accepted_is_refused_no_longer():
    numbers.refuse_number("epochs", 10, "1.5", "Expected a whole number.")
    numbers.accept_number("epochs")
    numbers.accept_number("epochs")

    assert numbers.refused_number("epochs", 10) is None
