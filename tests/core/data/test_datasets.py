"""Where MNIST comes from when things go wrong, what is refused, and how images are split."""

import hashlib
import http.server
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data import datasets, download
from core.data.datasets import Dataset, DatasetId, Source, load, read_npz, split
from core.errors import DataError, EngineNotReady

MNIST = os.environ.get("DIGITLAB_MNIST")  # before the fixture below hides it
ROOT = Path(datasets.__file__).parents[2]

needs_mnist = pytest.mark.skipif(not MNIST, reason="DIGITLAB_MNIST names no file")


def npz(**changes: np.ndarray | None) -> bytes:
    """A small file in the layout of mnist.npz, with some arrays replaced or (None) left out."""
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        "y_train": np.arange(20, dtype=np.uint8) % 10,
        "x_test": rng.integers(0, 256, (10, 28, 28), dtype=np.uint8),
        "y_test": np.arange(10, dtype=np.uint8),
    }
    file = io.BytesIO()
    np.savez_compressed(file, **{name: array for name, array in (arrays | changes).items() if array is not None})
    return file.getvalue()


GENUINE = npz()


class Server(http.server.ThreadingHTTPServer):
    """Serves one content to every request, and counts them. With a barrier, no request is answered before all came."""

    daemon_threads = False  # closing waits for every answer, so no socket is left to the garbage collector

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.content, self.status, self.promised = GENUINE, 200, len(GENUINE)
        self.requests = 0
        self.barrier = threading.Barrier(1)

    def handle_error(self, *args: object) -> None:
        """Say nothing of clients that hang up, as they shall when the server stalls."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mnist.npz"


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.requests += 1
        self.server.barrier.wait(timeout=60)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(self.server.promised))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing loaded, an empty cache, no network; and a small file taken for the genuine one."""
    monkeypatch.setattr(datasets, "_loaded", None)
    monkeypatch.setattr(datasets, "SHA256", hashlib.sha256(GENUINE).hexdigest())
    monkeypatch.setattr(datasets, "SIZE", len(GENUINE))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("DIGITLAB_OFFLINE", "1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("DIGITLAB_MNIST", raising=False)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where Keras keeps the file."""
    return tmp_path / "keras" / "datasets" / "mnist.npz"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The place to download from, reachable."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(datasets, "URL", server.url)
        monkeypatch.delenv("DIGITLAB_OFFLINE")
        yield server
        server.shutdown()
        thread.join()


def assert_same(dataset: Dataset, content: bytes) -> None:
    arrays = (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test)
    for array, expected in zip(arrays, read_npz(content), strict=True):
        np.testing.assert_array_equal(array, expected, strict=True)


class TestLoad:
    def test_prefers_the_file_that_the_environment_names(self, monkeypatch, tmp_path, cache):
        cache.parent.mkdir(parents=True)
        cache.write_bytes(GENUINE)
        own = npz(y_test=np.zeros(10, np.uint8))
        (tmp_path / "own.npz").write_bytes(own)
        monkeypatch.setenv("DIGITLAB_MNIST", str(tmp_path / "own.npz"))

        dataset = load()

        assert dataset.source is Source.FILE
        assert_same(dataset, own)

    def test_refuses_a_missing_file_instead_of_taking_another(self, monkeypatch, tmp_path, cache):
        cache.parent.mkdir(parents=True)
        cache.write_bytes(GENUINE)
        monkeypatch.setenv("DIGITLAB_MNIST", str(tmp_path / "missing.npz"))

        with pytest.raises(DataError, match=r"missing\.npz can't be used.*No such file.*DIGITLAB_MNIST"):
            load()

    def test_forgets_an_error(self, monkeypatch, tmp_path):
        path = tmp_path / "late.npz"
        monkeypatch.setenv("DIGITLAB_MNIST", str(path))
        with pytest.raises(DataError):
            load()
        path.write_bytes(GENUINE)

        assert_same(load(), GENUINE)

    def test_takes_the_cached_file_without_a_request(self, server, cache):
        cache.parent.mkdir(parents=True)
        cache.write_bytes(GENUINE)

        dataset = load()

        assert (dataset.source, server.requests) == (Source.CACHE, 0)
        assert_same(dataset, GENUINE)

    def test_downloads_and_keeps_the_file(self, server, cache):
        dataset = load()

        assert dataset.source is Source.DOWNLOAD
        assert_same(dataset, GENUINE)
        assert cache.read_bytes() == GENUINE
        assert os.listdir(cache.parent) == ["mnist.npz"]

    def test_tells_the_progress_of_a_download(self, server):
        shares = []

        load(shares.append)

        assert shares == sorted(shares)
        assert shares[-1] == 1

    def test_downloads_again_what_is_broken_in_the_cache(self, server, cache):
        cache.parent.mkdir(parents=True)
        cache.write_bytes(GENUINE[:-100])

        dataset = load()

        assert dataset.source is Source.DOWNLOAD
        assert cache.read_bytes() == GENUINE

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param({"content": b"<html>Please log in to the Wi-Fi</html>", "promised": 39}, id="another file"),
            pytest.param({"content": GENUINE[:-100]}, id="cut short"),
            pytest.param({"content": b"", "promised": 0}, id="empty"),
            pytest.param({"status": 404}, id="not found"),
        ],
    )
    def test_keeps_nothing_of_a_failed_download(self, server, cache, answer):
        vars(server).update(answer)

        dataset = load()

        assert dataset.is_stand_in
        assert not cache.exists()

    def test_falls_back_when_nobody_answers(self, server, monkeypatch):
        monkeypatch.setattr(datasets, "URL", "http://127.0.0.1:1/mnist.npz")

        assert load().source is Source.STAND_IN

    def test_falls_back_when_the_server_stalls(self, server, monkeypatch):
        monkeypatch.setattr(download, "SILENCE_SECONDS", 0.05)
        server.barrier = threading.Barrier(2)

        dataset = load()
        server.barrier.abort()

        assert dataset.is_stand_in

    def test_survives_a_cache_that_cannot_be_made_and_says_so(self, server, monkeypatch, tmp_path):
        (tmp_path / "file").write_text("a file where a folder should be")
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))

        dataset = load()

        assert (dataset.source, dataset.path) == (Source.DOWNLOAD, "")
        assert dataset.trouble.startswith("MNIST is here, but could not be kept for the next start (Not a directory).")

    def test_survives_a_full_disk_and_leaves_no_rubbish(self, server, monkeypatch, cache):
        def fail(*paths: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(datasets.os, "replace", fail)

        dataset = load()

        assert dataset.source is Source.DOWNLOAD
        assert "No space left on device" in dataset.trouble
        assert "Free some space" in dataset.trouble
        assert os.listdir(cache.parent) == []

    def test_removes_what_a_killed_process_left_of_the_file_but_not_what_another_writes(self, server, cache):
        cache.parent.mkdir(parents=True)
        left, written = (cache.with_name(f"mnist.npz.{name}.part") for name in ("left", "written"))
        for part in (left, written):
            part.write_bytes(GENUINE[:1000])
        os.utime(left, (0, 0))

        load()

        assert sorted(os.listdir(cache.parent)) == ["mnist.npz", written.name]

    def test_says_why_it_is_the_stand_in(self):
        assert load().trouble == "DIGITLAB_OFFLINE=1 keeps this lab from fetching it: start the lab without that."

    def test_loads_once_for_all_threads(self, server):
        found = []
        threads = [threading.Thread(target=lambda: found.append(load())) for _ in range(8)]

        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert server.requests == 1
        assert [dataset is found[0] for dataset in found] == [True] * 8

    def test_lets_several_processes_download_at_once(self, server, cache):
        server.barrier = threading.Barrier(3)
        script = (
            "from core.data import datasets; "
            f"datasets.URL, datasets.SHA256, datasets.SIZE = {server.url!r}, {datasets.SHA256!r}, {datasets.SIZE}; "
            "dataset = datasets.load(); print(dataset.source, len(dataset.x_train), end='')"
        )
        command = [sys.executable, "-W", "error", "-c", script]

        processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        said = [process.communicate(timeout=120)[0] for process in processes]

        assert said == ["download 20"] * 3
        assert cache.read_bytes() == GENUINE
        assert os.listdir(cache.parent) == ["mnist.npz"]

    def test_arrays_cannot_be_changed(self, server):
        dataset = load()

        for array in (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0

    def test_the_module_brings_no_heavy_library_along(self):
        script = "import sys, core.data.datasets; print({'tensorflow', 'keras', 'streamlit', 'sklearn'} & sys.modules.keys(), end='')"

        said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

        assert said.stdout == "set()"


class TestWhichDataset:
    """One process chooses; what it chose is what others load, or they say that they can't."""

    @pytest.fixture
    def own(self, tmp_path) -> Path:
        """A file of other digits than `GENUINE`."""
        (tmp_path / "own.npz").write_bytes(npz(x_test=np.zeros((10, 28, 28), np.uint8)))
        return tmp_path / "own.npz"

    @pytest.fixture
    def elsewhere(self, monkeypatch) -> Callable[[], None]:
        """A function after which this is another process."""
        return lambda: monkeypatch.setattr(datasets, "_loaded", None)

    def test_equal_images_are_the_same_data_set_in_whatever_file(self, tmp_path):
        np.savez(tmp_path / "plain.npz", **dict(zip(datasets.ARRAYS, read_npz(GENUINE), strict=True)))

        plain, packed = (Dataset(*read_npz(source), Source.FILE) for source in (tmp_path / "plain.npz", GENUINE))

        assert plain.digest == packed.digest
        assert replace(plain, y_test=plain.y_test[::-1]).digest != plain.digest

    def test_none_is_chosen_before_anyone_asked(self, own, monkeypatch):
        monkeypatch.setenv("DIGITLAB_MNIST", str(own))
        assert datasets.chosen() is None

        dataset = load()

        assert datasets.chosen() == dataset.id == DatasetId(dataset.digest, Source.FILE, str(own))

    def test_a_worker_takes_the_file_that_was_chosen_and_not_its_own(self, own, monkeypatch, elsewhere, tmp_path):
        (tmp_path / "its.npz").write_bytes(GENUINE)
        monkeypatch.setenv("DIGITLAB_MNIST", str(own))
        chosen = load().id
        elsewhere()
        monkeypatch.setenv("DIGITLAB_MNIST", str(tmp_path / "its.npz"))

        with datasets.using(chosen):
            assert_same(load(), own.read_bytes())

    def test_a_worker_takes_the_stand_in_where_that_was_chosen_and_mnist_is_at_hand(self, cache, elsewhere):
        chosen = load().id
        elsewhere()
        cache.parent.mkdir(parents=True)
        cache.write_bytes(GENUINE)

        with datasets.using(chosen):
            assert load().is_stand_in

    def test_a_worker_fetches_mnist_where_the_server_had_no_room_to_keep_it(self, server, cache, elsewhere):
        chosen = load().id
        elsewhere()
        cache.unlink()

        with datasets.using(chosen):
            assert_same(load(), GENUINE)

    def test_a_worker_finds_the_same_digits_in_a_file_of_its_own(self, own, monkeypatch, elsewhere, tmp_path):
        monkeypatch.setenv("DIGITLAB_MNIST", str(own))
        chosen = load().id
        elsewhere()
        own.rename(tmp_path / "moved.npz")
        monkeypatch.setenv("DIGITLAB_MNIST", str(tmp_path / "moved.npz"))

        with datasets.using(chosen):
            assert load().digest == chosen.digest

    @pytest.mark.parametrize("is_there", [True, False], ids=["other digits", "no file"])
    def test_a_worker_without_them_says_so_and_takes_no_others(self, own, monkeypatch, elsewhere, is_there):
        monkeypatch.setenv("DIGITLAB_MNIST", str(own))
        chosen = load().id
        elsewhere()
        if is_there:
            own.write_bytes(GENUINE)
        else:
            own.unlink()

        with (
            datasets.using(chosen),
            pytest.raises(DataError, match=rf"does not have the digits .* {chosen.digest[:12]}"),
        ):
            load()

    def test_a_question_about_digits_that_are_not_chosen_yet_waits(self):
        with datasets.using(None), pytest.raises(EngineNotReady, match="still being fetched"):
            load()

    def test_each_thread_has_the_one_that_it_was_asked_about(self, own, monkeypatch, elsewhere, tmp_path):
        (tmp_path / "genuine.npz").write_bytes(GENUINE)
        ids = []
        for path in (own, tmp_path / "genuine.npz"):
            monkeypatch.setenv("DIGITLAB_MNIST", str(path))
            ids.append(load().id)
            elsewhere()
        found = []

        def ask(chosen: DatasetId) -> None:
            with datasets.using(chosen):
                found.extend(load().digest == chosen.digest for _ in range(20))

        threads = [threading.Thread(target=ask, args=(chosen,)) for chosen in ids * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert found == [True] * 80

    def test_mnist_is_found_when_looked_for_again(self, server, cache):
        server.status = 503
        before = load()
        server.status = 200

        found = datasets.look_again(lambda share: None)

        assert before.is_stand_in
        assert found.source is Source.DOWNLOAD
        assert load() is found
        assert datasets.chosen() == found.id

    def test_the_stand_in_stays_where_mnist_is_not_found_again(self, server):
        server.status = 503
        before = load()

        assert datasets.look_again(lambda share: None).digest == before.digest


class TestStandIn:
    def test_is_shaped_and_split_like_mnist(self):
        dataset = load()

        assert dataset.is_stand_in
        assert (dataset.x_train.shape, dataset.x_train.dtype) == ((1497, 28, 28), np.uint8)
        assert (dataset.x_test.shape, dataset.x_test.dtype) == ((300, 28, 28), np.uint8)
        assert (dataset.y_train.dtype, dataset.y_test.dtype) == (np.uint8, np.uint8)
        assert set(np.bincount(dataset.y_test)) <= {29, 30, 31}

    def test_looks_like_mnist(self):
        x = load().x_train
        rows, columns = (x > 0).any(axis=2).sum(axis=1), (x > 0).any(axis=1).sum(axis=1)

        assert x.max(axis=(1, 2)).min() == 255
        assert np.maximum(rows, columns).max() == 20
        assert x.mean() == pytest.approx(33, abs=8)  # MNIST's mean is 33.3

    def test_is_the_same_every_time(self, monkeypatch):
        first = load()
        monkeypatch.setattr(datasets, "_loaded", None)
        second = load()

        assert second is not first
        np.testing.assert_array_equal(second.x_train, first.x_train)
        np.testing.assert_array_equal(second.y_test, first.y_test)


class TestReadNpz:
    @pytest.mark.parametrize("kind", [np.int64, np.int32, ">i2", np.uint8])
    def test_takes_labels_of_any_integer_type(self, kind):
        y_train = read_npz(npz(y_train=(np.arange(20) % 10).astype(kind)))[1]

        np.testing.assert_array_equal(y_train, np.arange(20, dtype=np.uint8) % 10, strict=True)

    def test_reads_a_path_as_it_reads_bytes(self, tmp_path):
        (tmp_path / "mnist.npz").write_bytes(GENUINE)

        for array, expected in zip(read_npz(tmp_path / "mnist.npz"), read_npz(GENUINE), strict=True):
            np.testing.assert_array_equal(array, expected, strict=True)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"x_test": None, "y_test": None}, "received no x_test, y_test"),
            ({"x_train": np.zeros((20, 784), np.uint8)}, r"x_train of shape \(n, 28, 28\).*received \(20, 784\) uint8"),
            ({"x_train": np.zeros((20, 28, 28), np.float32)}, r"type uint8, received \(20, 28, 28\) float32"),
            ({"x_test": np.zeros((0, 28, 28), np.uint8)}, r"n > 0.*received \(0, 28, 28\)"),
            ({"y_train": np.zeros(19, np.uint8)}, r"y_train of shape \(20,\).*received \(19,\)"),
            ({"y_train": np.zeros((20, 10), np.uint8)}, r"received \(20, 10\)"),
            ({"y_test": np.zeros(10, np.float32)}, r"an integer type, received \(10,\) float32"),
            ({"y_test": np.full(10, 11)}, r"y_test in 0\.\.9, received 11\.\.11"),
            ({"y_test": np.full(10, -1)}, r"received -1\.\.-1"),
            ({"y_test": np.full(10, None)}, "a damaged one .*pickle"),
        ],
    )
    def test_refuses_foreign_arrays(self, changes, message):
        with pytest.raises(DataError, match=message):
            read_npz(npz(**changes))

    @pytest.mark.parametrize(
        "content",
        [b"", b"label,pixel0\n5,0\n", GENUINE[:-100], GENUINE[: len(GENUINE) // 2], b"junk" + GENUINE],
        ids=["empty", "csv", "cut", "half", "prefixed"],
    )
    def test_refuses_what_is_no_whole_npz_file(self, content):
        with pytest.raises(DataError, match=r"expected an \.npz file, received .*damaged"):
            read_npz(content)

    def test_refuses_a_folder(self, tmp_path):
        with pytest.raises(DataError, match="Is a directory"):
            read_npz(tmp_path)

    @settings(max_examples=200, deadline=None)
    @given(place=st.integers(0, len(GENUINE) - 1), value=st.integers(0, 255))
    def test_a_damaged_byte_is_an_error_or_does_no_harm(self, place, value):
        damaged = bytearray(GENUINE)
        damaged[place] = value

        try:
            arrays = read_npz(bytes(damaged))
        except DataError:
            return

        for array, expected in zip(arrays, read_npz(GENUINE), strict=True):
            np.testing.assert_array_equal(array, expected, strict=True)


labels = st.lists(st.integers(0, 9), min_size=1, max_size=300).map(lambda y: np.array(y, dtype=np.uint8))
shares = st.floats(0, 0.5)
seeds = st.integers(0, 2**32 - 1)


class TestSplit:
    @settings(deadline=None)
    @given(y=labels, train_size=st.none() | st.integers(1, 400), share=shares, seed=seeds)
    def test_uses_exactly_as_many_images_as_asked_each_once(self, y, train_size, share, seed):
        train, validation = split(y, train_size, share, seed)

        size = min(train_size or len(y), len(y))
        assert (len(train), len(validation)) == (size - round(size * share), round(size * share))
        assert (train.dtype, validation.dtype) == (np.int64, np.int64)
        assert len(set(train) | set(validation)) == size
        assert set(train) | set(validation) <= set(range(len(y)))
        assert (np.diff(train) > 0).all()
        assert (np.diff(validation) > 0).all()

    @settings(deadline=None)
    @given(y=labels, train_size=st.none() | st.integers(1, 400), share=shares, seed=seeds)
    def test_keeps_every_class_within_one_image_of_its_share(self, y, train_size, share, seed):
        train, validation = split(y, train_size, share, seed)

        # Whole numbers throughout: |count / size - exact share| * size < 1, multiplied by the number of images.
        of_all = np.bincount(y, minlength=10)
        of_train, of_validation = (np.bincount(y[part], minlength=10) for part in (train, validation))
        of_used = of_train + of_validation
        size = of_used.sum()
        assert (np.abs(of_used * len(y) - of_all * size) < len(y)).all()
        assert (np.abs(of_validation * size - of_used * len(validation)) < size).all()
        assert (np.abs(of_train * size - of_used * len(train)) < size).all()

    def test_splits_a_balanced_set_evenly(self):
        y = np.tile(np.arange(10, dtype=np.uint8), 100)

        train, validation = split(y, 500, 0.2, seed=1)

        assert np.bincount(y[train]).tolist() == [40] * 10
        assert np.bincount(y[validation]).tolist() == [10] * 10

    def test_gives_remainders_to_the_largest_and_then_to_the_lowest_class(self):
        y = np.repeat(np.arange(4, dtype=np.uint8), [5, 3, 3, 1])

        train, _ = split(y, 6, 0.0, seed=0)

        # Shares 2.5, 1.5, 1.5 and 0.5 leave two images over, and four equal remainders.
        assert np.bincount(y[train], minlength=4).tolist() == [3, 2, 1, 0]

    def test_uses_all_images_without_a_size(self):
        y = np.tile(np.arange(10, dtype=np.uint8), 5)

        train, validation = split(y, None, 0.0, seed=3)

        assert (train.tolist(), validation.tolist()) == (list(range(50)), [])

    def test_follows_the_seed_alone(self):
        y = np.tile(np.arange(10, dtype=np.uint8), 50)

        first, again, other = (split(y, 100, 0.1, seed)[0].tolist() for seed in (5, 5, 6))

        assert first == again
        assert first != other

    @pytest.mark.parametrize(("train_size", "share"), [(0, 0.1), (-1, 0.1), (10, -0.1), (10, 0.6), (10, float("nan"))])
    def test_refuses_arguments_out_of_range(self, train_size, share):
        with pytest.raises(ValueError, match="Expected images"):
            split(np.zeros(20, np.uint8), train_size, share, seed=0)


@needs_mnist
class TestMnist:
    @pytest.fixture
    def mnist(self, monkeypatch) -> Dataset:
        monkeypatch.setenv("DIGITLAB_MNIST", MNIST)
        return load()

    def test_is_whole(self, mnist):
        assert (mnist.x_train.shape, mnist.x_test.shape) == ((60_000, 28, 28), (10_000, 28, 28))
        assert np.bincount(mnist.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        assert np.bincount(mnist.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]

    @pytest.mark.parametrize("train_size", [32, 1000, 10_000, None])
    def test_splits_by_class(self, mnist, train_size):
        y = mnist.y_train

        train, validation = split(y, train_size, 0.1, seed=0)

        size = train_size or 60_000
        exact = np.bincount(y) / 60_000
        assert (len(train), len(validation)) == (size - round(size * 0.1), round(size * 0.1))
        assert np.abs(np.bincount(y[np.union1d(train, validation)]) - exact * size).max() < 1
        assert np.abs(np.bincount(y[validation], minlength=10) - exact * len(validation)).max() < 1.1
