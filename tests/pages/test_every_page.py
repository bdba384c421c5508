"""Every page lives in every state that a run, its folder, the address and the data can be in."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.data import datasets
from core.engine.cluster import Phase
from core.model import draft
from core.model.presets import FIRST_CNN
from core.model.specs import Dropout, replaced
from core.runs.progress import State
from tests.page_fields import part
from ui.state.editing import Editing

ROOT = Path(__file__).parents[2]
TITLES = {
    "start": "Build a network. Watch it learn. Draw for it.",
    "data": "Data",
    "build": "Build",
    "train": "Train",
    "evaluate": "Evaluate",
    "explain": "Explain",
    "draw": "Draw",
}
DAMAGE = {
    "state.json cut short": lambda folder: (folder / "state.json").write_text('{"name": "A r'),
    "state.json without the batches of an epoch": lambda folder: (folder / "state.json").write_text(
        '{"name": "A run", "state": "finished"}'
    ),
    "no state.json": lambda folder: (folder / "state.json").unlink(),
    "spec.json of another program": lambda folder: (folder / "spec.json").write_text('{"layers": "many"}'),
    "no spec.json": lambda folder: (folder / "spec.json").unlink(),
    "history.json cut short": lambda folder: (folder / "history.json").write_text("[{"),
    "curve.npz cut short": lambda folder: (folder / "curve.npz").write_bytes(b"PK\3\4"),
    "nothing in it": lambda folder: [path.unlink() for path in folder.iterdir() if path.is_file()],
}

MARKDOWN = re.compile(r"[*`$\\[\]<>_]|:[a-z][\w/-]*[:\[]")

every_page = pytest.mark.parametrize("page", TITLES)
needs_a_network = {"evaluate", "explain", "draw"}


def changed_everywhere():
    """An experiment that differs from its preset in its training and in a layer."""
    first, *others = FIRST_CNN.experiment.layers
    training = replaced(FIRST_CNN.experiment.training, learning_rate=0.05, epochs=3, validation_split=0.2)
    return replaced(FIRST_CNN.experiment, layers=(replaced(first, filters=9), *others), training=training)


def texts(elements) -> list[str]:
    return [element.value for element in elements]


@every_page
def test_it_runs_before_there_is_any_run(visit, page):
    at = visit(page)

    assert not at.exception
    assert texts(at.title) == [TITLES[page]]
    assert not at.error
    assert bool(at.info) == (page in needs_a_network)


@every_page
@pytest.mark.parametrize("epochs", [0, 1])
@pytest.mark.parametrize("state", [state for state in State if not state.is_over])
def test_it_runs_while_a_run_is_under_way(visit, make_run, page, state, epochs):
    at = visit(page, make_run(state, epochs))

    assert not at.exception
    assert texts(at.title) == [TITLES[page]]
    assert not at.error
    assert at.sidebar.caption[0].value.startswith(state)


@every_page
@pytest.mark.parametrize("epochs", [0, 1])
@pytest.mark.parametrize("state", [State.STOPPED, State.FAILED, State.INTERRUPTED])
def test_it_runs_with_a_run_that_ended_early(visit, make_run, page, state, epochs):
    at = visit(page, make_run(state, epochs))

    assert not at.exception
    assert texts(at.title) == [TITLES[page]]
    assert at.sidebar.caption[0].value.startswith(state)


@every_page
def test_each_choice_has_what_is_chosen_as_its_default(visit, finished_run, page):
    for group in visit(page, finished_run).get("button_group"):
        assert [group.options[index] for index in group.proto.default] == list(group.formatted_values), group.label
        assert group.formatted_values or not group.proto.required, group.label


@every_page
def test_it_runs_with_a_finished_run(visit, finished_run, page):
    at = visit(page, finished_run)

    assert not at.exception
    assert texts(at.title) == [TITLES[page]]
    assert not at.error
    assert not at.info
    assert at.sidebar.caption[0].value == "2 epochs, 81.25% on validation"


WIDGETS = (
    "button_group",
    "camera_input",
    "checkbox",
    "file_uploader",
    "metric",
    "multiselect",
    "number_input",
    "radio",
    "select_slider",
    "selectbox",
    "slider",
    "text_input",
    "toggle",
)


@every_page
@pytest.mark.parametrize("is_under_way", [False, True])
def test_no_widget_has_markdown_in_its_accessible_name(visit, finished_run, make_run, page, is_under_way):
    """Streamlit says a label as it is written: `**` and `:orange[...]` too."""
    at = visit(page, make_run(State.PAUSED) if is_under_way else finished_run)
    part(at, Editing).draft = draft.of_experiment(changed_everywhere()).with_added(Dropout())
    part(at, Editing).open_layers = set(part(at, Editing).draft.layer_ids)
    at.run()

    labels = {element.proto.label for kind in WIDGETS for element in at.get(kind)}

    assert not at.exception
    assert labels
    assert [label for label in labels if MARKDOWN.search(label)] == []


@every_page
@pytest.mark.parametrize("damage", DAMAGE)
def test_it_says_that_a_runs_folder_is_damaged(visit, finished_run, page, damage):
    DAMAGE[damage](Path(finished_run.root) / finished_run.id)

    at = visit(page, finished_run)

    assert not at.exception
    assert texts(at.title) == [TITLES[page]]
    assert f"Run {finished_run.id}" in at.sidebar.caption[0].value
    assert len(at.error) == (page not in ("data", "build"))


@every_page
def test_it_says_that_the_network_of_the_best_epoch_is_lost(visit, finished_run, page):
    Path(finished_run.root, finished_run.id, "checkpoints", "00000008.npz").unlink()

    at = visit(page, finished_run)

    assert not at.exception
    assert texts(at.title) == [TITLES[page]]
    assert at.sidebar.caption[0].value == "2 epochs, 81.25% on validation"
    assert ["lost the network of its best epoch" in text for text in texts(at.error)] == (
        [] if page in ("build", "data", "train") else [True]
    )


@every_page
def test_it_lives_though_the_run_in_use_is_deleted_meanwhile(visit, finished_run, page):
    at = visit(page, finished_run)
    finished_run.delete()

    at.run()

    assert not at.exception
    assert texts(at.title) == [TITLES[page]]
    assert texts(at.warning) == [
        f"There is no run {finished_run.id} here. It may have been deleted, or made on another machine."
    ]

    at.run()

    assert not at.warning
    assert at.query_params == {}


@pytest.mark.parametrize("mangled", ["{}.", "<{}>", "{}%20"])
def test_an_address_that_was_changed_on_its_way_opens_its_run(visit, finished_run, mangled):
    at = visit("evaluate", mangled.format(finished_run.id.upper()))

    assert not at.warning
    assert at.sidebar.caption[0].value == "2 epochs, 81.25% on validation"
    assert at.query_params == {"run": finished_run.id}


@every_page
@pytest.mark.parametrize("asked", ["../../etc", "a" * 16, "", "<script>alert(1)</script>", "%00", "ø" * 5000])
def test_an_address_that_names_no_run_is_told_so(visit, make_run, page, asked):
    make_run(State.FINISHED)

    at = visit(page, asked)

    assert not at.exception
    assert texts(at.title) == [TITLES[page]]
    assert len(at.warning) == bool(asked)
    assert all(len(text) < 200 for text in texts(at.warning))
    assert not at.sidebar.selectbox
    if asked:
        assert at.query_params == {}


@every_page
@pytest.mark.parametrize("phase", [Phase.OFF, Phase.STARTING, Phase.WARMING])
def test_it_runs_while_the_engine_starts(visit, finished_run, still_engine, page, phase):
    still_engine.be(phase)

    at = visit(page, finished_run)

    assert not at.exception
    assert texts(at.title) == [TITLES[page]]
    assert not at.error
    assert "Engine ready" not in at.sidebar.caption[1].value


@every_page
def test_it_runs_though_the_engine_is_out_of_order(visit, finished_run, still_engine, page):
    still_engine.be(Phase.FAILED, "The engine did not start: no route to host")

    at = visit(page, finished_run)

    assert not at.exception
    assert texts(at.title) == [TITLES[page]]
    assert at.sidebar.caption[1].value == ":red[:material/error:] Engine out of order"
    assert at.sidebar.caption[2].value == "The engine did not start: no route to host"


class TestDataFile:
    """DIGITLAB_MNIST names a file that is no data set."""

    @pytest.fixture(params=["missing", "foreign", "cut short"])
    def broken(self, request, finished_run, no_data_yet, monkeypatch, tmp_path) -> Path:
        path = tmp_path / "mnist.npz"
        if request.param == "foreign":
            np.savez(path, x_train=np.zeros((3, 28, 28), np.uint8))
        elif request.param == "cut short":
            path.write_bytes(b"PK\3\4 the rest is lost")
        monkeypatch.setenv("DIGITLAB_MNIST", str(path))
        return path

    @pytest.mark.parametrize("page", ["start", "data", "build"])
    def test_a_page_with_digits_says_what_is_wrong_with_it(self, visit, broken, page):
        at = visit(page)

        assert not at.exception
        assert texts(at.title) == [TITLES[page]]
        assert len(at.error) == 1
        assert str(broken) in at.error[0].value
        assert "DIGITLAB_MNIST" in at.error[0].value

    def test_so_does_evaluate(self, visit, broken, finished_run):
        at = visit("evaluate", finished_run)

        assert not at.exception
        assert str(broken) in at.error[0].value

    @pytest.mark.parametrize("page", ["start", "train", "draw"])
    def test_a_page_without_digits_does_not_mind(self, visit, broken, finished_run, page):
        at = visit(page, finished_run)

        assert not at.exception
        assert not at.error

    def test_once_it_is_mended_the_page_is_there(self, visit, broken):
        at = visit("data")
        images, labels = np.zeros((40, 28, 28), np.uint8), np.arange(40) % 10
        np.savez(broken, x_train=images, y_train=labels, x_test=images[:10], y_test=labels[:10])

        at.run()

        assert not at.error
        assert at.subheader[0].value == "A 0"

    def test_where_mnist_is_out_of_reach_its_stand_in_is_announced(
        self, visit, finished_run, no_data_yet, monkeypatch, tmp_path
    ):
        monkeypatch.delenv("DIGITLAB_MNIST", raising=False)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))

        at = visit("data")
        while at.get("progress"):  # a page waits two seconds for the data and then shows how far it is
            at.run()

        for page in TITLES:
            visit(page, session=at)

            assert not at.exception
            assert "MNIST could not be fetched" in at.warning[0].value, page
            assert "DIGITLAB_OFFLINE=1 keeps this lab from fetching it" in at.warning[0].value, page

    def test_trying_again_finds_mnist_without_a_restart(
        self, visit, press, no_data_yet, digits_file, monkeypatch, tmp_path
    ):
        monkeypatch.delenv("DIGITLAB_MNIST", raising=False)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.setattr(datasets, "SHA256", hashlib.sha256(digits_file.read_bytes()).hexdigest())

        def when_looked_for(at: AppTest) -> AppTest:
            while at.get("progress"):
                at.run()
            return at

        at = when_looked_for(visit("data"))
        assert at.warning
        assert when_looked_for(press(at, "Try again")).warning

        (tmp_path / "datasets").mkdir()
        shutil.copy(digits_file, tmp_path / "datasets" / "mnist.npz")
        at = when_looked_for(press(at, "Try again"))

        assert not at.warning
        assert datasets.load().source is datasets.Source.CACHE

    @pytest.mark.parametrize("page", sorted(needs_a_network))
    def test_a_network_of_other_digits_is_said_to_be_one(self, visit, finished_run, page):
        finished_run.write_state(State.FINISHED, dataset="f" * 64)

        at = visit(page, finished_run)

        assert "trained on other digits than those in use now" in at.info[0].value
        assert "trained on other digits than those in use" in at.sidebar.caption[0].value


def test_the_script_that_hosts_run_shows_the_first_page():
    at = AppTest.from_file(ROOT / "streamlit_app.py", default_timeout=60).run()

    assert not at.exception
    assert texts(at.title) == [TITLES["start"]]
    assert at.sidebar.caption[0].value == ":green[:material/check_circle:] Engine ready"


def test_no_page_imports_tensorflow(finished_run):
    script = f"""
import sys
from pathlib import Path
from streamlit.testing.v1 import AppTest
from core.data import datasets
from core.engine import engine

still = engine.Engine()
still.cluster.start = lambda: None
engine._engine = still
datasets.load()
for run_id in (None, {finished_run.id!r}):
    at = AppTest.from_file("ui/app.py", default_timeout=60)
    if run_id:
        at.query_params["run"] = run_id
    for page in {list(TITLES)}:
        at.switch_page(str(Path("pages", page + ".py").absolute())).run()
        assert not at.exception, page
        assert at.title, page
assert at.sidebar.selectbox
sys.stdout.write(" ".join({{"tensorflow", "keras", "sklearn", "matplotlib"}} & set(sys.modules)) or "none of them")
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "none of them"


@every_page
@pytest.mark.parametrize("state", [State.PAUSED, State.STOPPED])
def test_no_key_alone_does_more_than_to_leaf(visit, make_run, page, state):
    """Keys are heard wherever the focus is: a stranger's slip must not wipe, stop or begin anything."""
    at = visit(page, make_run(state, epochs=2))

    keys = {button.proto.shortcut for button in at.button if button.proto.shortcut}
    assert {key for key in keys if "+" not in key} <= {"left", "right"}
    assert keys or page in ("start", "explain", "evaluate")
