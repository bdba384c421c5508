"""Pictures that are given in place of a drawing."""

from __future__ import annotations

from ui.state import photos


def test_files_are_known_and_what_was_wrong_with_the_last_of_them():
    photos.note_picture_files(["one", "two"], ["two is no picture."])
    photos.note_picture_files(["three"], [])

    assert all(photos.has_picture_file(file) for file in ("one", "two", "three"))
    assert not photos.has_picture_file("four")
    assert photos.picture_faults() == []


def test_only_so_many_files_are_known():
    photos.note_picture_files([str(number) for number in range(photos.MOST_FILES_KNOWN + 1)], [])

    assert not photos.has_picture_file("0")
    assert photos.has_picture_file(str(photos.MOST_FILES_KNOWN))
