"""The Draw page in a browser: by mouse, finger and keyboard, on the canvas and on the live pad, a digit and a number."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import FloatRect, Locator, Page, expect

from tests.e2e.places import box, wait_until

SURFACE = ".st-key-pad[data-has-pen] canvas.upper-canvas"
PHONE = {"width": 390, "height": 844}
SECONDS = 1000
STROKES = os.environ.get("DIGITLAB_STROKES")
CAPITAL_E = [[(0.7, 0.15), (0.3, 0.15), (0.3, 0.85), (0.72, 0.85)], [(0.3, 0.5), (0.62, 0.5)]]

needs_strokes = pytest.mark.skipif(not STROKES, reason="needs DIGITLAB_STROKES")


@pytest.fixture(scope="module")
def drawings() -> dict[int, list[list[tuple[float, float]]]]:
    """One hand's drawing of each digit, as strokes in shares of the sheet's side.

    The second hand's: the foot of the first one's 6 makes it one of the 15 in 1,000 that are doubted. Every third point of a
    stroke: the browser takes a frame for each.
    """
    items = json.loads(Path(STROKES).read_text())
    second = list(dict.fromkeys(item["writer"] for item in items))[1]
    return {
        item["label"]: [
            [(x / max(item["box"]), y / max(item["box"])) for x, y in (*stroke[:-1:3], stroke[-1])]
            for stroke in item["strokes"]
        ]
        for item in items
        if item["writer"] == second
    }


@pytest.fixture(scope="module")
def shipping_server(start_server) -> Iterator:
    """A server that has the shipped network, which other tests do without."""
    before = os.environ.pop("DIGITLAB_REFERENCE", None)
    server = start_server()
    if before is not None:
        os.environ["DIGITLAB_REFERENCE"] = before
    yield server
    server.stop()


@pytest.fixture
def draw_page(shipping_server, new_context, lab) -> Page:
    """The Draw page of a visitor who has trained nothing, read by the shipped network."""
    page = new_context(viewport={"width": 1360, "height": 1000}).new_page()
    lab.open(page, shipping_server, "draw")
    expect(page.get_by_text("Engine ready")).to_be_visible(timeout=60 * SECONDS)
    surface(page)
    lab.settle(page)
    return page


@pytest.fixture
def press(draw_page, lab) -> Callable[[str], None]:
    """A function that presses a key once the page listens to it."""

    def press(key: str) -> None:
        lab.settle(draw_page)
        draw_page.keyboard.press(key)

    return press


def surface(page: Page) -> Locator:
    """The standard canvas, once there is one to draw on."""
    canvas = page.locator(SURFACE)
    expect(canvas).to_have_count(1)
    canvas.scroll_into_view_if_needed()
    return canvas


HIT = """([columns, rows]) => {
    const pad = document.querySelector(".st-key-pad")
    const root = [...pad.querySelectorAll("*")].map(e => e.shadowRoot).find(r => r?.querySelector(".upper-canvas"))
    const box = root.querySelector(".upper-canvas").getBoundingClientRect(), hit = []
    for (let k = 0; k < columns * rows; k++) {
        const x = box.x + (k % columns + .5) * box.width / columns, y = box.y + (Math.floor(k / columns) + .5) * box.height / rows
        let found = document.elementFromPoint(x, y), inner
        while ((inner = found?.shadowRoot?.elementFromPoint(x, y)) && inner !== found) found = inner
        hit.push(found?.matches(".upper-canvas") ? "the canvas" : found?.className ?? "nothing")
    }
    return [...new Set(hit)]
}"""
ALPHA = (
    """(canvas, [x, y]) => canvas.getContext("2d").getImageData(x * canvas.width, y * canvas.height, 1, 1).data[3]"""
)
# What Tor and LibreWolf answer to who reads a canvas.
FALSIFIED = """
const noise = length => Uint8ClampedArray.from({ length }, () => Math.random() * 256)
CanvasRenderingContext2D.prototype.getImageData = (x, y, w, h) => new ImageData(noise(4 * w * h), w, h)
const toDataURL = HTMLCanvasElement.prototype.toDataURL
HTMLCanvasElement.prototype.toDataURL = function () {
    const copy = Object.assign(document.createElement("canvas"), { width: this.width, height: this.height })
    copy.getContext("2d").putImageData(new ImageData(noise(4 * this.width * this.height), this.width), 0, 0)
    return toDataURL.call(copy)
}
"""
# Nobody hears of a release while `isReleaseLost`.
LOSSY = """
for (const type of ["pointerup", "mouseup", "lostpointercapture"])
    addEventListener(type, event => window.isReleaseLost && event.stopImmediatePropagation(), true)
"""


def paint(page: Page) -> Locator:
    """What the canvas shows."""
    return page.locator(".st-key-pad canvas.dc-canvas.lower-canvas")


def is_wide(sheet: FloatRect) -> bool:
    return sheet["width"] > 1.5 * sheet["height"]


def press_and_move(page: Page, canvas: Locator, strokes, left=0.0, top=0.0, scale=1.0) -> None:
    """Strokes by mouse; `scale` is that of the sheet to the canvas' shorter side, `left` and `top` shares of the canvas."""
    sheet = box(canvas)
    side = min(sheet["width"], sheet["height"]) * scale
    for stroke in strokes:
        places = [
            (sheet["x"] + left * sheet["width"] + x * side, sheet["y"] + top * sheet["height"] + y * side)
            for x, y in stroke
        ]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place)
        page.mouse.up()


def press_and_hold(page: Page, sheet: FloatRect, *points: tuple[float, float]) -> None:
    """A stroke by mouse, its button still down."""
    (x, y), *rest = [(sheet["x"] + a * sheet["width"], sheet["y"] + b * sheet["height"]) for a, b in points]
    page.mouse.move(x, y)
    page.mouse.down()
    for x, y in rest:
        page.mouse.move(x, y, steps=12)


def touch(page: Page, canvas: Locator, strokes) -> None:
    """Strokes by finger."""
    sheet = box(canvas)
    client = page.context.new_cdp_session(page)
    for stroke in strokes:
        places = [{"x": sheet["x"] + x * sheet["width"], "y": sheet["y"] + y * sheet["height"]} for x, y in stroke]
        client.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": places[:1]})
        for place in places[1:]:
            client.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [place]})
        client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def clear(page: Page) -> None:
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("[data-digit='']")).to_be_visible()
    blank = "canvas => !canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"
    paint = page.locator(".st-key-pad canvas.dc-canvas.lower-canvas")
    for _ in range(100):  # the canvas obeys a moment after the answer is gone
        if paint.evaluate(blank):
            return
        page.wait_for_timeout(20)
    raise AssertionError("the canvas is not empty")


def choose(page: Page, lab, name: str) -> None:
    page.get_by_test_id("stMain").get_by_text(name, exact=True).click()
    lab.settle(page)


@needs_strokes
def test_ten_digits_are_read_right(draw_page, drawings):
    for digit, strokes in sorted(drawings.items()):
        press_and_move(draw_page, surface(draw_page), strokes)
        expect(draw_page.get_by_role("heading", name=f"This is a {digit}")).to_be_visible()
        clear(draw_page)


def test_a_letter_is_refused(draw_page):
    press_and_move(draw_page, surface(draw_page), CAPITAL_E)

    expect(draw_page.get_by_role("heading", name="I am not sure this is a digit")).to_be_visible()
    expect(draw_page.locator(".st-key-spoken [role=status]")).to_contain_text("I am not sure this is a digit. ")
    expect(draw_page.locator("[data-digit='']")).to_be_visible()


def test_undo_redo_and_clear_by_their_keys(draw_page, lab, press):
    seen = draw_page.get_by_alt_text("The drawing as 28 by 28 pixels.")
    lab.draw(draw_page, (0.5, 0.2), (0.5, 0.8))
    expect(seen).to_be_visible()
    one_stroke = seen.get_attribute("src")
    lab.draw(draw_page, (0.2, 0.5), (0.8, 0.5))
    expect(seen).not_to_have_attribute("src", one_stroke)
    two_strokes = seen.get_attribute("src")

    press("Control+z")
    expect(seen).to_have_attribute("src", one_stroke)
    press("Control+Shift+z")
    expect(seen).to_have_attribute("src", two_strokes)
    press("Escape")  # it may be meant for a menu, and clears nothing
    expect(seen).to_have_attribute("src", two_strokes)
    press("Control+Backspace")
    expect(draw_page.get_by_role("heading", name="Draw a digit")).to_be_visible()
    press("Control+z")
    expect(seen).to_have_attribute("src", two_strokes)


def test_the_eraser_takes_ink_away(draw_page, lab):
    lab.draw(draw_page, (0.3, 0.2), (0.3, 0.8))
    seen = draw_page.get_by_alt_text("The drawing as 28 by 28 pixels.")
    expect(seen).to_be_visible()
    one_stroke = seen.get_attribute("src")
    lab.draw(draw_page, (0.7, 0.2), (0.7, 0.8))
    expect(seen).not_to_have_attribute("src", one_stroke)

    choose(draw_page, lab, "Eraser")
    lab.draw(draw_page, (0.7, 0.12), (0.7, 0.88))

    expect(seen).to_have_attribute("src", one_stroke)
    lab.settle(draw_page)
    assert paint(draw_page).evaluate(ALPHA, [0.7, 0.5]) == 0  # no paint that another theme would show
    assert paint(draw_page).evaluate(ALPHA, [0.3, 0.5]) == 255


def test_a_stroke_begun_before_the_eraser_s_last_is_answered_counts_and_each_can_be_undone(draw_page, lab, press):
    seen = draw_page.get_by_alt_text("The drawing as 28 by 28 pixels.")
    sheet, pictures = box(surface(draw_page)), []
    for x in (0.3, 0.5, 0.7):
        lab.draw(draw_page, (x, 0.2), (x, 0.8))
        expect(seen).not_to_have_attribute("src", pictures[-1] if pictures else "")
        pictures.append(seen.get_attribute("src"))
        lab.settle(draw_page)

    choose(draw_page, lab, "Eraser")
    lab.draw(draw_page, (0.7, 0.12), (0.7, 0.88))
    middle, top, height = sheet["x"] + sheet["width"] / 2, sheet["y"], sheet["height"]
    draw_page.mouse.move(middle, top + 0.12 * height)
    draw_page.mouse.down()
    draw_page.mouse.move(middle, top + 0.5 * height, steps=12)
    expect(seen).to_have_attribute("src", pictures[1])
    draw_page.mouse.move(middle, top + 0.88 * height, steps=12)
    draw_page.mouse.up()
    expect(seen).to_have_attribute("src", pictures[0])
    press("Control+z")
    expect(seen).to_have_attribute("src", pictures[1])
    press("Control+z")

    expect(seen).to_have_attribute("src", pictures[2])


def test_two_digits_on_a_sheet_for_one_are_read_as_a_number_at_a_click(draw_page, lab):
    lab.draw(draw_page, (0.2, 0.2), (0.2, 0.8))
    lab.draw(draw_page, (0.5, 0.2), (0.85, 0.2), (0.6, 0.8))

    draw_page.get_by_role("button", name="Read it as a whole number").click()

    expect(draw_page.get_by_role("heading", name="This is 17")).to_be_visible()


@needs_strokes
def test_1984_is_read_as_a_number(draw_page, drawings, lab):
    choose(draw_page, lab, "A whole number")
    expect(draw_page.get_by_role("heading", name="Write a number")).to_be_visible()
    wait_until(lambda: is_wide(box(surface(draw_page))), 60)  # not the square one any more
    lab.settle(draw_page)
    for place, digit in enumerate((1, 9, 8, 4)):
        press_and_move(draw_page, surface(draw_page), drawings[digit], left=0.02 + 0.23 * place, top=0.05, scale=0.62)

    expect(draw_page.locator("[data-number='1984']")).to_be_visible()
    expect(draw_page.get_by_role("heading", name="This is 1984")).to_be_visible()
    expect(draw_page.locator(".st-key-spoken [role=status]")).to_contain_text("This is 1984. ")


def test_the_pad_is_drawn_on_by_keyboard_alone_and_answers_before_the_pen_is_lifted(draw_page, lab):
    choose(draw_page, lab, "Live pad")
    pad = draw_page.get_by_role("application")
    pad.focus()

    for key in ["Space", *["ArrowDown"] * 14]:
        draw_page.keyboard.press(key)
    expect(draw_page.locator("[data-digit='1']")).to_be_visible()
    expect(pad).to_have_attribute("aria-label", "A pad to draw one digit on: 1 strokes. The pen is down.")
    draw_page.keyboard.press("Space")
    expect(draw_page.locator(".said")).to_contain_text("This is a 1")
    expect(draw_page.locator(".st-key-spoken")).to_have_count(0)
    draw_page.keyboard.press("Backspace")

    expect(draw_page.get_by_role("heading", name="Draw a digit")).to_be_visible()


def test_clear_on_the_pad_can_be_undone_and_a_key_held_down_is_one_stroke(draw_page, lab):
    choose(draw_page, lab, "Live pad")
    pad = draw_page.get_by_role("application")
    pad.focus()
    for _ in range(4):  # the pen goes down once, and the key repeats
        draw_page.keyboard.down("Space")
    draw_page.keyboard.up("Space")
    expect(pad).to_have_attribute("aria-label", "A pad to draw one digit on: 1 strokes. The pen is down.")
    for key in [*["ArrowDown"] * 14, "Space", "ArrowRight", "ArrowRight", "Space", "ArrowDown", "Space"]:
        draw_page.keyboard.press(key)
    expect(pad).to_have_attribute("aria-label", "A pad to draw one digit on: 2 strokes. The pen is up.")
    seen = draw_page.get_by_alt_text("The drawing as 28 by 28 pixels.")
    lab.settle(draw_page)
    expect(seen).to_be_visible()

    draw_page.keyboard.press("Escape")  # it may be meant for something else, and clears nothing
    expect(pad).to_have_attribute("aria-label", "A pad to draw one digit on: 2 strokes. The pen is up.")
    draw_page.keyboard.press("Delete")
    expect(draw_page.get_by_role("heading", name="Draw a digit")).to_be_visible()
    draw_page.keyboard.press("Control+z")
    expect(pad).to_have_attribute("aria-label", "A pad to draw one digit on: 2 strokes. The pen is up.")
    expect(seen).to_be_visible()
    draw_page.keyboard.press("Backspace")
    expect(pad).to_have_attribute("aria-label", "A pad to draw one digit on: 1 strokes. The pen is up.")
    draw_page.keyboard.press("Control+Shift+z")

    expect(pad).to_have_attribute("aria-label", "A pad to draw one digit on: 2 strokes. The pen is up.")


def test_a_palm_on_the_pad_neither_draws_nor_lifts_the_pen(draw_page, lab):
    choose(draw_page, lab, "Live pad")
    pad = draw_page.get_by_role("application")
    pad.scroll_into_view_if_needed()
    seen = draw_page.get_by_alt_text("The drawing as 28 by 28 pixels.")
    sheet = box(pad)
    pictures = []

    for has_palm in (False, True):
        draw_page.mouse.move(sheet["x"] + 100, sheet["y"] + 80)
        draw_page.mouse.down()
        draw_page.mouse.move(sheet["x"] + 300, sheet["y"] + 80)
        if has_palm:
            for kind in ("pointerdown", "pointermove", "pointerup", "pointercancel"):
                pad.dispatch_event(kind, {"pointerId": 7, "clientX": sheet["x"] + 380, "clientY": sheet["y"] + 380})
        draw_page.mouse.move(sheet["x"] + 180, sheet["y"] + 340)
        draw_page.mouse.up()
        expect(pad).to_have_attribute("aria-label", "A pad to draw one digit on: 1 strokes.")
        expect(draw_page.locator(".said")).to_contain_text("This is a 7")  # once all of the stroke is read
        lab.settle(draw_page)
        pictures.append(seen.get_attribute("src"))
        draw_page.get_by_role("button", name="Clear").click()
        expect(draw_page.get_by_role("heading", name="Draw a digit")).to_be_visible()

    assert pictures[0] == pictures[1]


@needs_strokes
def test_a_finger_draws_on_a_phone_and_the_page_stays_where_it_is(shipping_server, new_context, lab, drawings):
    page = new_context(viewport=PHONE, has_touch=True, is_mobile=True).new_page()
    lab.open(page, shipping_server, "draw")
    expect(page.get_by_role("heading", name="Draw a digit")).to_be_visible()
    canvas = surface(page)
    lab.settle(page)
    before = box(canvas)
    assert before["width"] > PHONE["width"] - 40
    assert before["x"] + before["width"] <= PHONE["width"]

    touch(page, canvas, drawings[3])

    expect(page.locator("[data-digit='3']")).to_be_visible()
    assert box(canvas) == before
    choose(page, lab, "Live pad")
    pad = page.get_by_role("application")
    pad.scroll_into_view_if_needed()
    before = box(pad)
    touch(page, pad, drawings[2])
    expect(page.locator("[data-digit='2']")).to_be_visible()
    assert box(pad) == before


def test_a_drawing_of_the_session_comes_back_by_a_click(draw_page, lab):
    lab.draw(draw_page, (0.5, 0.2), (0.5, 0.8))
    seen = draw_page.get_by_alt_text("The drawing as 28 by 28 pixels.")
    expect(seen).to_be_visible()
    upright = seen.get_attribute("src")
    clear(draw_page)
    lab.draw(draw_page, (0.2, 0.5), (0.8, 0.5))
    expect(seen).not_to_have_attribute("src", upright)

    draw_page.get_by_role("group", name="Drawn in this session").get_by_role("button").first.click()

    expect(seen).to_have_attribute("src", upright)


@pytest.mark.parametrize("has_touch", [False, True])
def test_nothing_foreign_lies_over_the_sheets(shipping_server, new_context, lab, has_touch):
    page = new_context(has_touch=has_touch, is_mobile=has_touch).new_page()
    lab.open(page, shipping_server, "draw")
    for part, is_right_shape in (("One digit", lambda box: not is_wide(box)), ("A whole number", is_wide)):
        choose(page, lab, part)
        wait_until(lambda is_right=is_right_shape: is_right(box(page.locator(SURFACE))), 60)
        for width in (320, 390, 768, 1360):
            page.set_viewport_size({"width": width, "height": 1000})
            sheet = box(surface(page))
            page.mouse.move(sheet["x"] + 5, sheet["y"] - 5)  # where a toolbar would hide beyond

            assert page.evaluate(HIT, [10, 10]) == ["the canvas"], (part, width)
            assert page.evaluate(HIT, [40, 20]) == ["the canvas"], (part, width)


def test_a_browser_that_falsifies_pictures_of_canvases_draws_as_well(shipping_server, new_context, lab):
    page = new_context(viewport={"width": 1360, "height": 1000}).new_page()
    page.add_init_script(FALSIFIED)
    lab.open(page, shipping_server, "draw")
    expect(page.get_by_text("Engine ready")).to_be_visible(timeout=60 * SECONDS)

    lab.draw_seven(page)

    expect(page.get_by_role("heading", name="This is a 7")).to_be_visible()


class SlowLine:
    """A page's connection, on which what the server answers can be held up; to be made before the page is opened."""

    def __init__(self, page: Page) -> None:
        self.is_slow, self.held = False, []
        page.route_web_socket("**/_stcore/stream", self._opened)

    def let_go(self) -> None:
        while self.held:
            socket, message = self.held.pop(0)
            socket.send(message)
        self.is_slow = False

    def _opened(self, socket) -> None:
        def answered(message) -> None:
            if self.is_slow:
                self.held.append((socket, message))
            else:
                socket.send(message)

        socket.connect_to_server().on_message(answered)


def test_a_stroke_drawn_while_an_order_is_on_its_way_is_not_lost(shipping_server, new_context, lab):
    page = new_context(viewport={"width": 1360, "height": 1000}).new_page()
    line = SlowLine(page)
    lab.open(page, shipping_server, "draw")
    expect(page.get_by_text("Engine ready")).to_be_visible(timeout=60 * SECONDS)
    seen = page.get_by_alt_text("The drawing as 28 by 28 pixels.")
    surface(page)
    lab.draw(page, (0.2, 0.5), (0.8, 0.5))
    expect(seen).to_be_visible()
    across = seen.get_attribute("src")
    for order in ("Undo", "Clear"):
        clear(page)
        lab.draw(page, (0.5, 0.2), (0.5, 0.8))
        expect(seen).to_be_visible()
        lab.settle(page)
        line.is_slow = True
        page.get_by_role("button", name=order).click()
        lab.draw(page, (0.2, 0.5), (0.8, 0.5))
        wait_until(
            lambda: page.title() and len(line.held) > 3, 60
        )  # the server has answered, and the page knows nothing
        line.let_go()

        expect(seen).to_have_attribute("src", across)
        wait_until(lambda: paint(page).evaluate(ALPHA, [0.3, 0.5]) == 255, 60)
        assert paint(page).evaluate(ALPHA, [0.5, 0.3]) == 0

        lab.settle(page)


def test_the_eraser_erases_from_the_click_on_it_on(shipping_server, new_context, lab):
    page = new_context(viewport={"width": 1360, "height": 1000}).new_page()
    line = SlowLine(page)
    lab.open(page, shipping_server, "draw")
    expect(page.get_by_text("Engine ready")).to_be_visible(timeout=60 * SECONDS)
    surface(page)
    lab.draw(page, (0.5, 0.2), (0.5, 0.8))
    expect(page.get_by_alt_text("The drawing as 28 by 28 pixels.")).to_be_visible()
    lab.settle(page)

    line.is_slow = True
    page.get_by_test_id("stMain").get_by_text("Eraser", exact=True).click()
    lab.draw(page, (0.5, 0.12), (0.5, 0.88))
    wait_until(lambda: page.title() and len(line.held) > 3, 60)
    line.let_go()

    expect(page.get_by_role("heading", name="Draw a digit")).to_be_visible()


@pytest.mark.parametrize("source", ["Canvas", "Live pad"])
def test_a_release_that_is_lost_ends_the_stroke(shipping_server, new_context, lab, source):
    page = new_context(viewport={"width": 1360, "height": 1000}).new_page()
    page.add_init_script(LOSSY)
    lab.open(page, shipping_server, "draw")
    expect(page.get_by_text("Engine ready")).to_be_visible(timeout=60 * SECONDS)
    choose(page, lab, source)
    canvas = surface(page) if source == "Canvas" else page.get_by_role("application")
    sheet = box(canvas)
    seen, pictures = page.get_by_alt_text("The drawing as 28 by 28 pixels."), []
    for is_lost in (False, True):
        press_and_hold(page, sheet, (0.5, 0.2), (0.5, 0.8))
        page.evaluate("isLost => { window.isReleaseLost = isLost }", is_lost)
        page.mouse.up()
        page.evaluate("() => { window.isReleaseLost = false }")
        page.mouse.move(sheet["x"] + 20, sheet["y"] + 20, steps=6)
        page.mouse.move(sheet["x"] + 300, sheet["y"] + 30, steps=6)
        expect(seen).to_be_visible()
        lab.settle(page)
        pictures.append(seen.get_attribute("src"))
        page.get_by_role("button", name="Clear").click()
        expect(page.get_by_role("heading", name="Draw a digit")).to_be_visible()

    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("comes", ["before", "after"])
def test_a_palm_on_the_canvas_neither_draws_nor_mutes_the_pen(shipping_server, new_context, lab, comes):
    page = new_context(viewport={"width": 800, "height": 1000}, has_touch=True, is_mobile=True).new_page()
    lab.open(page, shipping_server, "draw")
    expect(page.get_by_text("Engine ready")).to_be_visible(timeout=60 * SECONDS)
    sheet = box(surface(page))
    client = page.context.new_cdp_session(page)

    def at(x: float, y: float, number: int) -> dict:
        return {"x": sheet["x"] + x * sheet["width"], "y": sheet["y"] + y * sheet["height"], "id": number}

    def send(kind: str, *points: dict) -> None:
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})

    palm = at(0.85, 0.85, 1)
    way = [at(x, 0.2, 2) for x in (0.25, 0.4, 0.55, 0.7)] + [at(0.7 - k * 0.06, 0.2 + k * 0.14, 2) for k in range(1, 5)]
    if comes == "before":
        send("touchStart", palm)
        send("touchStart", palm, way[0])
    else:
        send("touchStart", way[0])
        send("touchMove", way[1])
        send("touchStart", way[1], palm)
    for place in way[1:]:
        send("touchMove", place, palm)
    send("touchMove", palm)  # the finger is lifted
    send("touchEnd")

    expect(page.get_by_role("heading", name="This is a 7")).to_be_visible()
    assert paint(page).evaluate(ALPHA, [0.85, 0.85]) == 0
