"""A dict keeps the entries that were set last."""

from core.engine.newest import Newest


def test_the_oldest_make_room_for_new_ones():
    kept = Newest(2)
    for key in "abc":
        kept[key] = key.upper()

    assert dict(kept) == {"b": "B", "c": "C"}


def test_one_that_is_set_again_is_the_newest():
    kept = Newest(2)
    for key in "abac":
        kept[key] = key.upper()

    assert list(kept.items()) == [("a", "A"), ("c", "C")]


def test_one_that_is_read_stays_as_old_as_it_is():
    kept = Newest(2)
    kept["a"], kept["b"] = 1, 2
    assert kept["a"] == kept.get("a") == 1
    kept["c"] = 3

    assert list(kept) == ["b", "c"]


def test_with_room_for_none_it_stays_empty():
    kept = Newest(0)
    kept["a"] = 1

    assert not kept
