"""What people type for a number, in many ways of writing it."""

# ruff: noqa: RUF001

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SpecError
from core.model.typed_numbers import decimal, whole, within, written


class TestDecimal:
    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("0,001", 0.001),
            ("0.001", 0.001),
            ("0,005", 0.005),
            (",5", 0.5),
            (".5", 0.5),
            ("5,", 5.0),
            ("3", 3.0),
            ("1,000", 1.0),
            ("1.000", 1.0),
            ("1e-4", 1e-4),
            ("1E-4", 1e-4),
            ("2,5e-3", 0.0025),
            ("  0.5\n", 0.5),
            ("\N{NO-BREAK SPACE}0,5", 0.5),
            ("+0.1", 0.1),
            ("-0.1", -0.1),
            ("−0.1", -0.1),
            ("٠٫٠٠١", 0.001),
            ("۰٫۰۰۱", 0.001),
            ("０．００１", 0.001),
            ("０，００１", 0.001),
        ],
    )
    def test_comma_and_point_are_the_same(self, text, number):
        assert decimal(text) == number

    @pytest.mark.parametrize(
        "text",
        ["", " ", "abc", "0,0,1", "1.000,5", "1,000.5", "1 000", "nan", "inf", "1e", "e5", "--1", ".", ",", "1_000", "1e9999", "1" * 50],
    )  # fmt: skip
    def test_what_is_no_number_is_refused(self, text):
        with pytest.raises(SpecError, match=r"is no number\. Write it as 0\.001, 0,001 or 1e-3"):
            decimal(text)

    @given(st.floats(min_value=1e-8, max_value=10))
    def test_reads_what_a_field_shows_with_either_mark(self, number):
        shown = written(number)

        assert math.isclose(decimal(shown), number, rel_tol=1e-9)
        assert decimal(shown.replace(".", ",")) == decimal(shown)


class TestWhole:
    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("64", 64),
            ("1,000", 1000),
            ("1.000", 1000),
            ("1 000", 1000),
            ("1\N{NARROW NO-BREAK SPACE}000", 1000),
            ("1'000", 1000),
            ("1’000", 1000),
            ("60.000", 60_000),
            ("1,234,567", 1_234_567),
            ("1e3", 1000),
            ("1.5e3", 1500),
            ("64.0", 64),
            ("64,0", 64),
            ("1.00", 1),
            ("٦٤", 64),
            ("６４", 64),
            (" 7 ", 7),
            ("-5", -5),
            ("0", 0),
        ],
    )
    def test_marks_for_thousands_change_nothing(self, text, number):
        assert whole(text) == number

    @pytest.mark.parametrize(
        "text", ["", "abc", "64,5", "64.5", "0.001", "1,00,000", "1.000,000", "1e-3", "1,0000,000", "6 4", "nan", "1" * 5000]
    )  # fmt: skip
    def test_what_is_not_whole_is_refused_and_not_read_as_another(self, text):
        with pytest.raises(SpecError, match="is no whole number"):
            whole(text)

    @given(st.integers(0, 2**31), st.sampled_from(",.' "))
    def test_reads_thousands_as_everywhere(self, number, mark):
        assert whole(f"{number:,}".replace(",", mark)) == number
        assert whole(written(number)) == number


class TestBounds:
    def test_what_is_beyond_them_is_told(self):
        with pytest.raises(SpecError, match=r"^1000 is too large\. The largest is 512\.$"):
            within("1.000", int, 1, 512)
        with pytest.raises(SpecError, match=r"^0 is too small\. The smallest is 1e-08\.$"):
            within("0,0", float, 1e-8, 10.0)

    def test_they_belong_to_what_is_allowed(self):
        assert within("512", int, 1, 512) == 512
        assert within("1e-8", float, 1e-8, 10.0) == 1e-8
        assert within("123456", int, 0, None) == 123_456

    @given(st.text())
    def test_any_text_is_a_number_or_refused(self, text):
        for kind in (int, float):
            with suppress(SpecError):
                assert 0 <= within(text, kind, 0, 100) <= 100

    def test_nothing_is_written_for_no_number(self):
        assert written(None) == ""
