"""The digits by split and class, in sheets, one of them large; the whole set at a glance; a map."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from core.data import datasets, measures
from core.data.measures import Neighbours, Pairs
from core.data.questions import DrawMap, NearDuplicates, ReadAll
from core.data.splits import Split
from core.engine.cluster import Phase
from core.errors import WorkerLost
from core.ink.preparation import Preparation, to_mnist
from core.ink.strokes import Sheet, Stroke
from core.model.specs import Training
from core.runs.contents import Evaluation, Readings
from core.runs.network import Network
from core.runs.progress import State
from core.runs.run import Run
from tests.page_fields import held, part
from ui.state.drawing_in_use import DrawingInUse
from ui.state.drawings import Drawings, Drawn
from ui.state.exploring import Exploring
from ui.state.runs import Runs
from ui.state.surfaces import Surfaces

SHEET = 96
INK = np.zeros((280, 280), np.float32)
INK[60:220, 130:150] = 1
LEANING = Sheet((Stroke(((220.0, 80.0), (160.0, 320.0)), 30),), 400, 400)
STEP = 8  # the finished run's best epoch's end


@pytest.fixture
def at(visit):
    return visit("data")


@pytest.fixture
def hardest(finished_run, digits) -> int:
    """The number of an image that was trained on."""
    return int(trained_on(digits, finished_run)[20])


@pytest.fixture
def read_run(finished_run, digits, hardest):
    """A run whose network has read all training digits: it is surest of the later ones, and takes one for another."""
    y = digits.y_train
    share = np.linspace(0.2, 0.9, len(y), dtype=np.float32)
    probabilities = np.repeat(((1 - share) / 9)[:, None], 10, axis=1)
    probabilities[np.arange(len(y)), y] = share
    probabilities[hardest] = 0.001
    probabilities[hardest, (y[hardest] + 1) % 10] = 0.991
    Network(finished_run, STEP).keep_readings(Readings(STEP, probabilities, np.zeros((len(y), 3), np.float32), y))
    return finished_run


def explained_digit(at) -> list:
    """The pixels of the digit that Explain shows."""
    url = json.loads(at.get("bidi_component")[0].proto.json)["digit"]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))).tolist()


def charts(at) -> list[str]:
    return [chart.proto.alt for chart in at.get("plotly_chart")]


def texts(elements) -> list[str]:
    return [element.value for element in elements]


def choice(at, label: str, value):
    found = [one for one in [*at.segmented_control, *at.pills, *at.selectbox] if one.label == label]
    return found[0].set_value(value).run()


def split(at, name: str):
    return choice(at, "Split", name)


def button(at, label: str):
    return next(one for one in at.button if one.label == label)


def looked_at(at) -> int:
    """The number of the digit that is large."""
    return int(at.caption[0].value.split(",  28")[0].split("number ")[1].split(", 28")[0].replace(",", ""))


def splits(digits, training: Training) -> tuple[np.ndarray, np.ndarray]:
    """What is trained on, and what is held out."""
    return datasets.split(digits.y_train, training.train_size, training.validation_split, training.seed)


def trained_on(digits, run=None) -> np.ndarray:
    return splits(digits, Training() if run is None else run.experiment().training)[0]


def open_test(at, run):
    """Open the test set on Evaluate."""
    part(at, Runs).open_tests.add(Network(run, STEP))
    return at.run()


class TestBrowsing:
    def test_it_begins_with_what_is_trained_on(self, at, digits):
        indices = trained_on(digits)

        assert charts(at) == [
            f"96 handwritten digits, sheet 1 of {-(-len(indices) // SHEET)}.",
            f"A handwritten {digits.y_train[indices[0]]}, large.",
        ]
        assert looked_at(at) == indices[0]

    @pytest.mark.parametrize("name", ["Training", "Validation", "Test"])
    @pytest.mark.parametrize("value", [0, 7])
    def test_a_digit_of_a_split_is_picked_out(self, at, name, value):
        split(at, name)

        choice(at, "Digit", value)

        assert not at.exception
        assert at.subheader[0].value == f"A {value}"
        assert at.caption[0].value.startswith(f"{name} image number")

    def test_one_leafs_to_the_last_sheet(self, at, digits):
        split(at, "Test")
        count = len(digits.y_test)
        sheets = -(-count // SHEET)

        at.pagination[0].set_value(sheets).run()

        assert not at.exception
        assert charts(at)[0] == f"{count - (sheets - 1) * SHEET} handwritten digits, sheet {sheets} of {sheets}."
        assert looked_at(at) == (sheets - 1) * SHEET

    def test_the_arrow_keys_lead_from_digit_to_digit_and_from_sheet_to_sheet(self, at):
        split(at, "Test")

        button(at, "On").click().run()
        button(at, "On").click().run()
        button(at, "Back").click().run()
        assert looked_at(at) == 1

        button(at, "Sheet on").click().run()
        assert looked_at(at) == 1 + SHEET
        assert at.pagination[0].value == 2

        button(at, "Sheet back").click().run()
        assert looked_at(at) == 1
        assert at.pagination[0].value == 1
        assert button(at, "Sheet back").proto.shortcut.lower() == "shift+left"

    def test_a_place_is_kept_per_selection(self, at):
        split(at, "Test")
        at.pagination[0].set_value(3).run()
        choice(at, "Digit", 4)
        assert at.pagination[0].value == 1

        choice(at, "Digit", None)

        assert at.pagination[0].value == 3
        assert looked_at(at) == 2 * SHEET

    def test_a_place_is_kept_though_sheets_become_smaller(self, at):
        split(at, "Test")
        at.pagination[0].set_value(2).run()

        choice(at, "Grid", "Few")

        assert charts(at)[0].startswith("40 handwritten digits, sheet 3 of")
        assert looked_at(at) == SHEET

    def test_an_index_is_searched_for(self, at):
        split(at, "Test")

        at.text_input[0].set_value("250").run()

        assert looked_at(at) == 250
        assert charts(at)[0].startswith("96 handwritten digits, sheet 3 of")

    def test_an_index_out_of_range_is_told_so(self, at, digits):
        split(at, "Test")

        at.text_input[0].set_value("70,000").run()

        assert not at.exception
        assert texts(at.warning) == [
            f"There is no image number 70,000: here they go from 0 to {len(digits.y_test) - 1:,}."
        ]

    def test_an_index_of_another_digit_is_told_so(self, at, digits):
        split(at, "Test")
        choice(at, "Digit", int((digits.y_test[5] + 1) % 10))

        at.text_input[0].set_value("5").run()

        assert texts(at.warning) == [
            f"Image number 5 is a {digits.y_test[5]} and isn't among those chosen here. Choose another split or digit."
        ]

    @pytest.mark.parametrize("order", ["Ink", "Slant", "Stroke width"])
    def test_they_are_sorted_by_what_is_measured(self, at, digits, order):
        split(at, "Test")
        choice(at, "Sorted by", order)
        while not at.subheader:  # measured on a thread
            at.run()
        values = getattr(measures.traits(digits.x_test), order.lower().replace(" ", "_"))

        assert looked_at(at) == np.argsort(values, kind="stable")[0]

        at.toggle[0].set_value(True).run()

        assert looked_at(at) == np.argsort(values, kind="stable")[-1]

    def test_an_address_leads_to_a_split_and_a_digit(self, visit):
        at = visit("start")
        at.query_params["split"], at.query_params["digit"] = "Test", "3"

        visit("data", session=at)

        assert at.caption[0].value.startswith("Test image number")
        assert at.subheader[0].value == "A 3"

    @pytest.mark.parametrize(
        "query", [{"split": "Secret"}, {"digit": "11"}, {"digit": "x"}, {"split": ""}, {"view": "x"}, {"grid": ""}]
    )
    def test_rubbish_in_the_address_is_ignored(self, visit, query):
        at = visit("start")
        at.query_params.update(query)

        visit("data", session=at)

        assert not at.exception
        assert at.caption[0].value.startswith("Training image number")
        assert at.pills[0].value is None

    def test_without_held_out_images_the_split_says_so(self, visit, choose):
        at = visit("train")
        choose(at, "Held out for validation", 0.0)
        visit("data", session=at)

        split(at, "Validation")

        assert not at.exception
        assert "nothing is held out" in at.info[0].value


class TestDrawings:
    def test_there_are_none_at_first(self, at):
        split(at, "Drawn")

        assert not at.exception
        assert "haven't drawn anything yet" in at.info[0].value

    def test_ones_own_stands_among_the_digits(self, at):
        part(at, Surfaces).canvases["digit"].sheet = LEANING

        split(at, "Drawn")

        assert not at.exception
        assert at.subheader[0].value == "Your drawing"
        assert charts(at) == ["1 handwritten digits, sheet 1 of 1.", "A drawing, large."]
        assert f"ink {to_mnist(LEANING).mean() / 255:.0%}" in at.caption[0].value

    def test_an_empty_canvas_is_no_drawing(self, at):
        assert not part(at, Surfaces).canvases["digit"].sheet.any()

        split(at, "Drawn")

        assert "haven't drawn anything yet" in at.info[0].value

    @pytest.fixture
    def drawn(self, visit, finished_run):
        """A visit that drew a stroke upright, and then one that leans and stands on the canvas still."""
        at = visit("data", finished_run)
        canvas = part(at, Surfaces).canvases["digit"]
        part(at, Drawings).drawn = [Drawn(1, "Picture", np.uint8(255 * INK), to_mnist(INK), 7)]
        canvas.sheet, canvas.number = LEANING, 2
        return split(at, "Drawn")

    def test_all_of_a_visit_s_are_there_the_newest_first(self, drawn):
        assert not drawn.exception
        assert charts(drawn)[0] == "2 handwritten digits, sheet 1 of 1."
        assert f"ink {to_mnist(LEANING).mean() / 255:.0%}" in drawn.caption[0].value

        button(drawn, "On").click().run()

        assert f"ink {to_mnist(INK).mean() / 255:.0%}" in drawn.caption[0].value

    def test_the_one_that_is_looked_at_is_explained(self, drawn):
        button(drawn, "On").click().run()

        button(drawn, "Explain").click().run()

        assert not drawn.exception
        assert explained_digit(drawn) == to_mnist(INK).tolist()

    def test_they_are_seen_as_draw_prepares_them(self, drawn):
        preparation = Preparation(crop=False, centre=False)
        part(drawn, DrawingInUse).preparation = preparation
        drawn.run()

        assert f"ink {to_mnist(LEANING, preparation).mean() / 255:.0%}" in drawn.caption[0].value
        button(drawn, "Explain").click().run()
        assert explained_digit(drawn) == to_mnist(LEANING, preparation).tolist()

    def test_they_are_sorted_by_how_hard_the_network_finds_them(self, drawn, still_engine):
        still_engine.answers["ReadDrawings"] = np.float32([[0.9, *[0.1 / 9] * 9], [0.5, 0.5, *[0] * 8]])

        choice(drawn, "Sorted by", "Hardest first")

        assert not drawn.exception
        assert f"ink {to_mnist(INK).mean() / 255:.0%}" in drawn.caption[0].value


class TestTheNetworkInUse:
    def test_it_says_what_it_reads_and_leads_to_its_reasons(self, visit, finished_run):
        at = visit("data", finished_run)
        split(at, "Test")
        button(at, "On").click().run()

        assert "**A run** reads a **7**" in texts(at.markdown)

        button(at, "Explain").click().run()

        assert not at.exception
        assert part(at, Exploring).explained == (Split.TEST, 1)
        assert at.title[0].value == "Explain"

    def test_hardest_first_goes_by_the_loss(self, visit, read_run, digits, hardest):
        at = visit("data", read_run)

        choice(at, "Sorted by", "Hardest first")

        assert not at.exception
        indices = trained_on(digits, read_run)
        assert looked_at(at) == hardest
        button(at, "On").click().run()
        assert looked_at(at) == indices[0]

    def test_a_suspected_label_error_comes_forward(self, visit, read_run, digits, hardest):
        at = visit("data", read_run)

        choice(at, "Sorted by", "Suspected label errors")

        assert not at.exception
        assert charts(at)[0] == "1 handwritten digits, sheet 1 of 1."
        assert at.subheader[0].value == f"A {digits.y_train[hardest]}"

    def test_where_no_label_looks_wrong_it_says_so(self, visit, read_run):
        at = visit("data", read_run)
        split(at, "Validation")

        choice(at, "Sorted by", "Suspected label errors")

        assert not at.exception
        assert texts(at.info) == ["None of these labels looks wrong to the network."]

    @pytest.mark.parametrize("name", ["Training", "Validation"])
    def test_the_splits_are_those_of_its_training_whatever_is_prepared(self, visit, choose, finished_run, digits, name):
        at = visit("train", finished_run)
        choose(at, "Held out for validation", 0.3)
        visit("data", session=at)

        split(at, name)

        assert not at.exception
        own = splits(digits, finished_run.experiment().training)[name == "Validation"]
        assert looked_at(at) == own[0]
        assert f"{len(own):,} digits, sheet 1" in " ".join(texts(at.markdown))

    def test_the_digit_that_was_looked_at_is_the_one_that_is_explained(self, visit, choose, finished_run, digits):
        at = visit("train", finished_run)
        choose(at, "Held out for validation", 0.3)
        split(visit("data", session=at), "Validation")
        button(at, "On").click().run()
        index = looked_at(at)

        button(at, "Explain").click().run()

        assert part(at, Exploring).explained == (Split.VALIDATION, index)
        assert held(at.text_input[0]) == index
        assert f'alt="a {digits.y_train[index]}"' in " ".join(html.proto.body for html in at.get("html"))

    @pytest.mark.parametrize("order", ["Hardest first", "Suspected label errors"])
    @pytest.mark.parametrize("name", ["Training", "Test"])
    def test_answers_that_are_no_numbers_are_said_to_be_none(self, visit, finished_run, digits, name, order):
        for file, y in (("train", digits.y_train), ("test", digits.y_test)):
            nothing = np.full((len(y), 10), np.nan, np.float32)
            if file == "train":
                Network(finished_run, STEP).keep_readings(Readings(STEP, nothing, np.zeros((len(y), 3), np.float32), y))
            else:
                Network(finished_run, STEP).keep_evaluation(Evaluation(STEP, nothing, y))
        at = open_test(visit("data", finished_run), finished_run)
        split(at, name)

        choice(at, "Sorted by", order)

        assert not at.exception
        assert not at.subheader
        assert "no numbers any more (NaN)" in at.info[0].value

    def test_before_it_has_read_them_its_progress_is_shown_and_can_be_ended(self, visit, finished_run, still_engine):
        at = visit("data", finished_run)

        choice(at, "Sorted by", "Hardest first")
        assert "ReadAll" in still_engine.asked
        assert not at.subheader

        button(at, "Cancel").click().run()

        assert not at.exception
        still_engine.asked.clear()
        button(at, "Have the network read all digits").click().run()
        assert "ReadAll" in still_engine.asked

    def test_where_the_worker_is_lost_it_says_so_and_can_be_asked_again(
        self, visit, finished_run, still_engine, monkeypatch
    ):
        at = visit("data", finished_run)
        still_engine.answers["ReadAll"] = WorkerLost("The worker was lost over it. Try again.")
        choice(at, "Sorted by", "Hardest first")
        assert texts(at.error) == ["The worker was lost over it. Try again."]
        del still_engine.answers["ReadAll"]
        still_engine.asked.clear()

        button(at, "Try again").click().run()

        assert not at.error
        assert "ReadAll" in still_engine.asked

    def test_the_test_set_is_sorted_by_answers_that_evaluate_has_got(self, visit, finished_run, digits):
        at = open_test(visit("data", finished_run), finished_run)
        split(at, "Test")

        choice(at, "Sorted by", "Hardest first")

        fours = np.flatnonzero(digits.y_test == 4)
        assert looked_at(at) == fours[0]

    def test_in_a_visit_that_did_not_open_it_the_test_set_stays_closed(self, visit, finished_run):
        at = visit("data", finished_run)
        split(at, "Test")

        choice(at, "Sorted by", "Hardest first")

        assert not at.exception
        assert not at.subheader
        assert "hasn't been tested yet in this visit" in at.info[0].value

    def test_of_a_network_that_was_not_tested_the_test_set_stays_closed(self, visit, make_run, still_engine):
        at = visit("data", make_run(State.FINISHED, epochs=2))
        split(at, "Test")

        choice(at, "Sorted by", "Hardest first")

        assert not at.exception
        assert "hasn't been tested yet" in at.info[0].value
        assert not still_engine.asked

    def test_neighbours_by_pixels_are_there_at_once(self, at, digits):
        index = looked_at(at)

        found = measures.nearest(digits.x_train, digits.x_train[index], but=index)
        shown = " ".join(html.proto.body for html in at.get("html"))
        for i in found.indices:
            assert f"{digits.y_train[i]} · {i:,}" in shown

    def test_neighbours_by_features_too_once_the_network_has_read_all(self, visit, read_run, still_engine, digits):
        still_engine.answers["NearestInside"] = Neighbours(np.array([42, 43]), np.float32([1, 2]))

        at = visit("data", read_run)

        assert not at.exception
        shown = at.main.get("html")[-1].proto.body, at.main.get("html")[-2].proto.body
        assert any(f"{digits.y_train[42]} · 42" in body for body in shown)

    def test_readings_of_another_data_set_do_not_count(self, visit, finished_run, digits):
        Network(finished_run, STEP).keep_readings(
            Readings(STEP, np.full((3, 10), 0.1, np.float32), np.zeros((3, 2), np.float32), digits.y_train[:3])
        )

        at = visit("data", finished_run)

        assert button(at, "Have it read all digits")


class TestTheWholeSet:
    @pytest.fixture
    def at(self, visit):
        at = visit("data")
        choice(at, "View", "The whole set")
        while len(charts(at)) < 5:  # measured on a thread
            at.run()
            assert not at.exception
        return at

    def test_it_tells_its_shape_and_balance(self, at, digits):
        assert [metric.value for metric in at.metric] == [
            f"{len(digits.x_train):,}",
            f"{len(digits.x_test):,}",
            "0 … 255",
            "4-D",
        ]
        counts = np.bincount(digits.y_test, minlength=10)
        assert ", ".join(f"{count} of {k}" for k, count in enumerate(counts)) in charts(at)[0]

    def test_its_distributions_have_words(self, at, digits):
        slant = float(np.median(measures.traits(digits.x_train).slant))

        assert charts(at)[1].startswith(f"Of {digits.x_train.size:,} pixels {np.sum(digits.x_train == 0):,} are 0")
        assert [alt.partition(":")[0] for alt in charts(at)[2:]] == ["Ink", "Slant", "Stroke width"]
        assert f"median {slant:.0f}" in charts(at)[3]

    def test_near_duplicates_are_looked_for_when_asked(self, at, still_engine, digits):
        assert not still_engine.asked
        twins = np.flatnonzero(digits.y_train == 1)[:2]
        still_engine.answers["NearDuplicates"] = Pairs(np.array([twins, [0, 0]]), np.float32([3.5, 22]))

        button(at, "Look for them").click().run()

        assert not at.exception
        assert "**1** pairs (1 of 1), 0 of them" in " ".join(texts(at.markdown))
        assert "3.5 apart" in at.main.get("html")[-1].proto.body


class TestTheMap:
    @pytest.fixture
    def points(self, still_engine, digits) -> np.ndarray:
        points = np.random.default_rng(0).normal(size=(len(digits.x_train), 2)).astype(np.float32)
        still_engine.answers["DrawMap"] = points
        return points

    def test_it_shows_its_progress_and_can_be_ended(self, visit, still_engine):
        at = visit("data")
        choice(at, "View", "Map")
        assert still_engine.asked.count("DrawMap") == 2

        button(at, "Cancel").click().run()

        assert not at.exception
        assert button(at, "Draw the map")

    def test_without_a_network_it_is_of_pixels_and_labels(self, visit, points):
        at = visit("data")

        choice(at, "View", "Map")

        assert not at.exception
        assert at.selectbox[0].options == ["pixels"]
        assert next(one for one in at.segmented_control if one.label == "Coloured by").options == ["Label"]

    @pytest.mark.parametrize("colouring", ["Label", "Prediction", "Error"])
    def test_it_is_coloured_by_what_the_network_reads(self, visit, read_run, points, colouring):
        at = visit("data", read_run)
        choice(at, "View", "Map")

        choice(at, "Coloured by", colouring)

        assert not at.exception
        if colouring == "Error":
            assert "read wrong" in " ".join(texts(at.caption))

    def test_any_layer_can_be_mapped(self, visit, read_run, points):
        at = visit("data", read_run)
        choice(at, "View", "Map")
        assert (
            at.selectbox[0].options
            == [
                "pixels",
                "layer 1 conv2d",
                "layer 2 maxpooling2d",
                "layer 3 flatten",
                "layer output",
            ]
            or len(at.selectbox[0].options) == 5
        )

    def test_while_the_engine_starts_it_says_so(self, visit, still_engine):
        still_engine.be(Phase.WARMING)
        at = visit("data")

        choice(at, "View", "Map")

        assert not at.exception
        assert not at.error
        assert "warming up" in at.get("progress")[0].proto.text


def test_equal_jobs_are_the_same_job():
    assert ReadAll(Network(Run("a", "b"), 3)) == ReadAll(Network(Run("a", "b"), 3))
    assert hash(DrawMap(2000, "PCA")) == hash(DrawMap(2000, "PCA"))
    assert NearDuplicates() == NearDuplicates()
