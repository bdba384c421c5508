"""A picture in a chart lies under the squares that are clicked, and neither it nor the page moves."""

from __future__ import annotations

import plotly.graph_objects as go

from core.views import clickable_picture, pictures


def test_squares_are_there_and_not_seen_chosen_or_not():
    squares = clickable_picture.squares([1, 2], [3, 4], 34, [["a", 0], ["b", 1]], ["first", "second"])

    assert (list(squares.x), list(squares.y)) == ([1, 2], [3, 4])
    assert [list(told) for told in squares.customdata] == [["a", 0], ["b", 1]]
    assert list(squares.text) == ["first", "second"]
    assert squares.marker.opacity == squares.selected.marker.opacity == squares.unselected.marker.opacity < 0.02


def test_a_picture_fills_the_plane_from_the_corner_on_below_all_else():
    figure = go.Figure(layout={"images": [clickable_picture.picture("data:,", 30, 20)]})

    (picture,) = figure.layout.images
    assert (picture.x, picture.y, picture.sizex, picture.sizey) == (0, 0, 30, 20)
    assert (picture.yanchor, picture.layer, picture.sizing) == ("top", "below", "stretch")


def test_a_frame_goes_around_its_cell():
    figure = go.Figure(layout={"shapes": [clickable_picture.frame(1, 2, 3, 5, pictures.OCHRE)]})

    (frame,) = figure.layout.shapes
    assert (frame.x0, frame.y0, frame.x1, frame.y1) == (1, 2, 3, 5)
    assert frame.line.color == pictures.OCHRE


def test_the_layout_shows_the_picture_alone_and_takes_clicks_only():
    figure = go.Figure(layout=clickable_picture.layout([-2, 32], [22, -2], 240))

    assert (figure.layout.xaxis.range, figure.layout.yaxis.range) == ((-2, 32), (22, -2))
    assert figure.layout.height == 240
    assert not figure.layout.xaxis.visible
    assert not figure.layout.yaxis.visible
    assert figure.layout.xaxis.fixedrange
    assert figure.layout.yaxis.fixedrange
    assert figure.layout.yaxis.scaleanchor == "x"  # a pixel is a square
    assert figure.layout.dragmode is False
    assert figure.layout.clickmode == "event+select"
