"""The shipped network: a run among the others, wherever these are kept, and as good as it says."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from benchmarks import drawing, refusal
from benchmarks.drawing import Way
from core import shipped as reference
from core.data import datasets
from core.errors import StorageFull
from core.runs import loaded, registry
from core.runs.contents import Checkpoint, Evaluation, Record
from core.runs.network import Network
from core.runs.progress import State
from core.runs.run import Run

ANSWERS = Evaluation(7, np.full((2, 10), 0.1, np.float32), np.zeros(2, np.uint8))


@pytest.fixture(params=["disk", "memory"])
def root(request, tmp_path: Path) -> str:
    return str(tmp_path / "kept") if request.param == "disk" else f"memory://{uuid4().hex}"


@pytest.fixture
def ship(tiny, tmp_path: Path):
    """A function of a version and a step: the folder of a shipped run with the network after so many batches."""

    def ship(version: str, step: int) -> Path:
        shutil.rmtree(tmp_path / "assets", ignore_errors=True)
        run = Run("shippednetworkaa", str(tmp_path / "assets"))
        run.folder.write("spec.json", tiny.model_dump_json().encode())
        run.write_weights(Checkpoint(step, {"kernel": np.full(3, step, np.float32)}, None))
        run.write_record(Record("Reference", State.FINISHED, shipped=version))
        return tmp_path / "assets" / run.id

    return ship


class TestInstalling:
    def test_a_shipped_run_becomes_one_of_the_runs(self, ship, root, tiny):
        run = registry.install(ship("one", 7), root)

        assert list(registry.all_runs(root)) == [run]
        assert registry.find(run.id, root).record().is_shipped
        assert run.experiment() == tiny
        np.testing.assert_array_equal(run.weights(7)["kernel"], [7, 7, 7])

    def test_what_was_found_about_it_stays(self, ship, root):
        Network(registry.install(ship("one", 7), root), 7).keep_evaluation(ANSWERS)

        assert Network(registry.install(ship("one", 7), root), 7).evaluation() is not None

    def test_a_newer_one_takes_its_place_and_nothing_found_about_the_old_one_is_left(self, ship, root):
        Network(registry.install(ship("one", 7), root), 7).keep_evaluation(ANSWERS)

        run = registry.install(ship("two", 9), root)

        assert run.record().shipped == "two"
        assert run.steps() == [9]
        assert Network(run, 7).evaluation() is None

    def test_one_that_was_copied_by_half_is_copied_again(self, ship, root):
        run = registry.install(ship("one", 7), root)
        run.folder.remove("state.json")
        run.folder.remove("spec.json")

        assert registry.install(ship("one", 7), root).experiment()

    def test_one_that_was_deleted_comes_back(self, ship, root):
        registry.install(ship("one", 7), root).delete()

        assert registry.install(ship("one", 7), root).steps() == [7]

    def test_says_where_there_is_no_room(self, ship, tmp_path):
        (tmp_path / "file").write_text("not a folder")

        with pytest.raises(StorageFull, match="can't be written"):
            registry.install(ship("one", 7), str(tmp_path / "file"))

    @pytest.mark.parametrize("is_elsewhere_possible", [True, False])
    def test_where_runs_can_t_be_kept_it_is_used_all_the_same(self, monkeypatch, ship, tmp_path, is_elsewhere_possible):
        folder = ship("one", 7)
        monkeypatch.delenv("DIGITLAB_REFERENCE")
        monkeypatch.setattr(reference, "ASSETS", folder.parent)
        monkeypatch.setattr(reference, "RUN_ID", folder.name)
        (tmp_path / "file").write_text("not a folder")

        elsewhere = tmp_path / ("own" if is_elsewhere_possible else "file")
        monkeypatch.setattr(reference, "_own_folder", lambda: str(elsewhere))

        run, why_not = reference.installed(str(tmp_path / "file"))

        assert run.root == str(elsewhere if is_elsewhere_possible else folder.parent)
        assert run.steps() == [7]
        assert why_not.startswith("Runs can't be kept here, only used for now. ")
        assert str(tmp_path) not in why_not

    def test_it_comes_back_where_someone_removed_it(self, monkeypatch, ship, tmp_path):
        folder = ship("one", 7)
        monkeypatch.delenv("DIGITLAB_REFERENCE")
        monkeypatch.setattr(reference, "ASSETS", folder.parent)
        monkeypatch.setattr(reference, "RUN_ID", folder.name)
        run, _ = reference.installed(str(tmp_path / "runs"))
        run.delete()

        again, why_not = reference.installed(str(tmp_path / "runs"))

        assert again == run
        assert again.steps() == [7]
        assert not why_not

    def test_it_can_be_left_out(self, runs_root):
        assert reference.installed(str(runs_root)) == (None, "")
        assert not runs_root.exists()


class TestWhatIsShipped:
    def test_it_is_small(self):
        sizes = {path: path.stat().st_size for path in reference.ASSETS.rglob("*") if path.is_file()}

        assert sizes[reference.ASSETS / reference.RUN_ID / "model.keras"] <= 2_000_000
        assert sum(sizes.values()) <= 3_000_000

    def test_it_is_the_recipe_of_its_command_and_has_its_figures(self, shipped):
        figures, progress = reference.figures(), shipped.progress()

        assert shipped.experiment() == reference.EXPERIMENT
        assert figures["command"] == "python -m core.shipped"
        assert figures["validation"] == progress.best.val_accuracy
        assert shipped.steps() == [progress.step_of(progress.best.epoch)]

    def test_its_look_at_the_test_set_is_on_record(self, shipped):
        assert [opening.step for opening in shipped.test_openings()] == shipped.steps()

    def test_it_reads_as_well_as_it_says(self, shipped):
        digits = datasets.load()
        if digits.is_stand_in:
            pytest.skip("the figures are those of MNIST")

        y_pred = loaded.probabilities(Network(shipped, shipped.steps()[0]), digits.x_test).argmax(axis=1)

        assert (y_pred == digits.y_test).mean() == pytest.approx(reference.figures()["test"], abs=0.0002)
        assert reference.figures()["test"] >= 0.996

    @pytest.mark.skipif("DIGITLAB_STROKES" not in os.environ, reason="DIGITLAB_STROKES names no drawn digits")
    @pytest.mark.parametrize("way", [Way("as recorded"), Way("thick", width=30), Way("small", size=0.25)], ids=str)
    def test_it_reads_strangers(self, shipped, way):
        digits = drawing.strokes_from(Path(os.environ["DIGITLAB_STROKES"]))

        figures = drawing.read(Network(shipped, shipped.steps()[0]), drawing.drawn(digits, way)).figures()

        assert figures["accuracy"] >= 0.99
        assert figures["ece"] <= 0.02
        assert figures["refused"] <= 0.05

    @pytest.mark.skipif("DIGITLAB_STROKES" not in os.environ, reason="DIGITLAB_STROKES names no drawn digits")
    def test_it_refuses_what_is_no_digit(self, shipped):
        drawn = json.loads(Path(os.environ["DIGITLAB_STROKES"]).read_text())
        inks = [ink for _, ink in refusal.families(drawn, count=50, seed=1)]

        readings = refusal.read(Network(shipped, shipped.steps()[0]), inks)

        assert np.mean([not reading.is_digit for reading in readings]) >= 0.9

    def test_its_file_is_the_same_network(self, shipped, dataset, tmp_path):
        import keras

        (tmp_path / "model.keras").write_bytes(shipped.keras_file())

        network = loaded.keras_network(Network(shipped, shipped.steps()[0]))
        from_file = keras.models.load_model(tmp_path / "model.keras")

        images = dataset.x_test[:50, ..., None]
        np.testing.assert_allclose(from_file.predict_on_batch(images), network.predict_on_batch(images), atol=1e-5)
