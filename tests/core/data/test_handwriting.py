"""One's own drawings as a data set: kept, relabelled, removed, as a file, and beside the runs."""

import io
import struct
import tracemalloc
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.data import handwriting
from core.data.handwriting import FILE, MOST_BYTES, MOST_DRAWINGS, Handwriting, from_npz, to_npz
from core.errors import DataError, StorageFull


def drawings(count: int, seed: int = 0) -> Handwriting:
    rng = np.random.default_rng(seed)
    return Handwriting(
        rng.integers(0, 256, (count, 28, 28)).astype(np.uint8), rng.integers(0, 10, count).astype(np.uint8)
    )


def same(one: Handwriting, other: Handwriting) -> bool:
    return np.array_equal(one.images, other.images) and np.array_equal(one.labels, other.labels)


def npz(**content) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **content)
    return buffer.getvalue()


def zipped(packed: int = zipfile.ZIP_DEFLATED, /, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packed) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def header(shape: tuple, descr: str = "|u1") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


class TestASet:
    def test_drawings_are_kept_in_order(self):
        three = drawings(3)

        kept = Handwriting()
        for image, label in zip(three.images, three.labels, strict=True):
            kept = kept.kept(image, int(label))

        assert same(kept, three)
        assert (kept.images.dtype, kept.labels.dtype) == (np.uint8, np.uint8)

    def test_a_drawing_kept_again_takes_the_new_label(self):
        three = drawings(3)

        again = three.kept(three.images[1], 7)

        assert len(again) == 3
        assert again.labels[1] == 7
        assert again.labels[[0, 2]].tolist() == three.labels[[0, 2]].tolist()

    def test_what_is_removed_is_gone_and_the_others_stay(self):
        three = drawings(3)

        left = three.without(1)

        assert same(left, Handwriting(three.images[[0, 2]], three.labels[[0, 2]]))

    def test_another_set_is_added_but_what_is_kept_keeps_its_label(self):
        here = drawings(3)
        other = Handwriting(np.concatenate([here.images[:1], drawings(1, seed=9).images]), np.uint8([9, 4]))

        both = here.added(other)

        assert both.labels.tolist() == [*here.labels.tolist(), 4]

    def test_there_is_an_end_to_what_is_kept(self):
        full = drawings(MOST_DRAWINGS)

        with pytest.raises(DataError, match="1,000 drawings"):
            full.kept(drawings(1, seed=1).images[0], 3)
        with pytest.raises(DataError, match="1,000 drawings in all, received 2 beside"):
            full.added(drawings(2, seed=1))


class TestAFile:
    @settings(deadline=None, max_examples=30)
    @given(count=st.integers(1, 60), seed=st.integers(0, 2**16))
    def test_what_is_written_is_read(self, count, seed):
        written = drawings(count, seed)

        assert same(from_npz(to_npz(written)), written)

    def test_numpy_reads_it_without_pickle(self):
        written = drawings(4)

        with np.load(io.BytesIO(to_npz(written)), allow_pickle=False) as archive:
            assert sorted(archive.files) == ["x", "y"]
            assert np.array_equal(archive["x"], written.images)
            assert np.array_equal(archive["y"], written.labels)

    def test_the_largest_set_is_within_its_own_limits(self):
        full = drawings(MOST_DRAWINGS)  # noise, which does not compress

        assert same(from_npz(to_npz(full)), full)

    @pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
    def test_labels_may_be_of_any_integer_type(self, kind):
        assert from_npz(npz(x=drawings(2).images, y=np.array([3, 9], kind))).labels.tolist() == [3, 9]

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "an .npz file"),
            (b"not a zip at all", "an .npz file"),
            (to_npz(drawings(20))[:-400], "an .npz file"),
            (b"0" * (MOST_BYTES + 1), "at most 2 MB"),
            (npz(x=drawings(2).images), "the arrays x and y, received no y"),
            (npz(images=drawings(2).images, labels=drawings(2).labels), "received no x but images.npy, labels.npy"),
            (npz(x=drawings(2).images[:, :27], y=np.uint8([1, 2])), r"shape \(n, 28, 28\)"),
            (npz(x=np.uint8(3), y=np.uint8(3)), r"shape \(n, 28, 28\)"),
            (npz(x=drawings(0).images, y=np.uint8([])), "n > 0"),
            (npz(x=drawings(2).images, y=np.uint8([1, 2, 3])), r"y of shape \(2,\)"),
            (npz(x=drawings(2).images, y=np.float32([1, 2.5])), "no whole numbers"),
            (npz(x=drawings(2).images, y=np.array(["1", "2"])), "an integer type"),
            (npz(x=drawings(2).images, y=np.array([True, False])), "an integer type"),
            (npz(x=drawings(2).images, y=np.uint8([1, 10])), "labels y from 0 to 9, received 1 to 10"),
            (npz(x=drawings(2).images, y=np.int64([-1, 3])), "labels y from 0 to 9, received -1 to 3"),
            (npz(x=drawings(MOST_DRAWINGS + 6).images, y=drawings(MOST_DRAWINGS + 6).labels), "at most 1,000 drawings"),
            (npz(x=np.array([{"a": 1}], object), y=np.uint8([1])), "Python objects"),
            (npz(x=drawings(1).images, y=np.array([{"a": 1}], object)), "Python objects"),
            (zipped(x=header((10**12, 28, 28)), y=header((1,)) + b"1"), "as NumPy writes"),
            (zipped(x=header((-1, 28, 28)), y=header((1,)) + b"1"), "as NumPy writes"),
            (zipped(x=b"\x93NUMPY\x07\x00", y=b""), "as NumPy writes"),
            (zipped(x=b"", y=b""), "as NumPy writes"),
            (zipped(x=bytes(10**8), y=b""), "at most 1,000 drawings"),
            (to_npz(drawings(20))[100:], "an .npz file"),
            (to_npz(drawings(20))[:900] + to_npz(drawings(20))[1400:], "an .npz file"),
            (zipped(zipfile.ZIP_LZMA, x=b"", y=b""), "packed otherwise"),
        ],
    )
    def test_what_is_no_such_file_is_refused_in_a_sentence(self, content, said):
        with pytest.raises(DataError, match=said) as refused:
            from_npz(content)

        assert str(refused.value).startswith("These drawings can't be used: expected ")
        assert str(refused.value).endswith(".")

    @settings(deadline=None)
    @given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8))
    def test_damage_is_refused_or_harmless(self, place, damage):
        content = to_npz(drawings(3))
        place %= len(content)

        try:
            found = from_npz(content[:place] + damage + content[place + len(damage) :])
        except DataError:
            return

        assert found.images.shape[1:] == (28, 28)
        assert found.labels.max() <= 9

    def test_any_turned_bit_of_an_arrays_description_is_refused_or_harmless(self):
        """With its checksum right, so that NumPy gets to see it; Python's own parser, which it uses, has errors of its own."""
        images, labels = io.BytesIO(), io.BytesIO()
        np.save(images, np.zeros((3, 28, 28), np.uint8))
        np.save(labels, np.arange(3))
        description = images.getvalue()[:128]
        for bit in range(8 * len(description)):
            changed = bytearray(images.getvalue())
            changed[bit // 8] ^= 1 << bit % 8

            with suppress(DataError):
                from_npz(zipped(x=bytes(changed), y=labels.getvalue()))

    @pytest.mark.parametrize(
        "pixels",
        [
            lambda x: x.reshape(-1, 784),
            lambda x: x[..., None],
            lambda x: x[:, None],
            lambda x: x.astype(np.float32),
            lambda x: x.astype(">i4"),
            lambda x: (x / 255).astype(np.float32),
            lambda x: x / 255,
            lambda x: np.asfortranarray(x / 255).reshape(-1, 784),
            lambda x: 255 - x,
            lambda x: 1 - (x / 255).reshape(-1, 28, 28, 1),
        ],
        ids=[
            "flat",
            "channel last",
            "channel first",
            "floats",
            "integers",
            "0..1",
            "doubles",
            "Fortran",
            "inverted",
            "1..0",
        ],
    )
    def test_pixels_may_be_of_any_usual_form(self, pixels, dataset):
        images, labels = dataset.x_test[:40], dataset.y_test[:40]

        assert same(from_npz(npz(x=pixels(images), y=labels)), Handwriting(images, labels))

    @pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float32])
    def test_two_values_are_paper_and_ink(self, kind, dataset):
        images, labels = (dataset.x_test[:40] > 127) * np.uint8(255), dataset.y_test[:40]

        assert same(from_npz(npz(x=(images > 0).astype(kind), y=labels)), Handwriting(images, labels))

    @pytest.mark.parametrize(
        "form",
        [
            lambda y: y.astype(np.float64),
            lambda y: y[:, None],
            lambda y: np.eye(10)[y],
            lambda y: np.eye(10, dtype=bool)[y],
            lambda y: np.eye(10, dtype=np.uint8)[y],
        ],
        ids=["floats", "a column", "one-hot", "one-hot of bool", "one-hot of uint8"],
    )
    def test_labels_may_be_of_any_usual_form(self, form):
        written = drawings(40)

        assert same(from_npz(npz(x=written.images, y=form(written.labels))), written)

    def test_what_is_dark_on_light_is_inverted_and_counted(self, dataset):
        images, labels = dataset.x_test[:40].copy(), dataset.y_test[:40]
        images[::4] = 255 - images[::4]

        found = from_npz(npz(x=images, y=labels))

        assert found.inverted == 10
        assert same(found, Handwriting(dataset.x_test[:40], labels))

    @pytest.mark.parametrize(
        ("form", "received"),
        [
            (lambda x, y: (x.astype(np.uint16) * 257, y), "0 to 65535"),
            (lambda x, y: (x / 127.5 - 1, y), "-1 to 1"),
            (lambda x, y: ((x - x.mean()) / x.std(), y), "-0"),
            (lambda x, y: (np.where(x == 0, np.nan, x), y), "NaN"),
            (lambda x, y: (np.moveaxis(x, 0, -1), y), r"\(28, 28, 40\)"),
            (lambda x, y: (x[0], y[0]), r"\(28, 28\)"),
            (lambda x, y: (np.stack([x] * 3, axis=-1), y), r"\(40, 28, 28, 3\)"),
            (lambda x, y: (np.resize(x, (1200, 28, 28)), np.resize(y, 1200)), "1,200"),
            (lambda x, y: (x.reshape(-1, 784).astype("S3"), y), "bytes24"),
            (lambda x, y: (x, y.astype(str)), "str"),
            (lambda x, y: (x, np.where(y == 0, 10, y)), "1 to 10"),
            (lambda x, y: (x, y + 0.25), "no whole numbers"),
            (lambda x, y: (x, np.eye(10)[y] * 0.9 + 0.01), "not one-hot"),
        ],
    )
    def test_the_line_of_numpy_that_is_told_mends_it(self, form, received, dataset):
        x, y = form(dataset.x_test[:40], dataset.y_test[:40])
        with pytest.raises(DataError, match=f"received .*{received}") as refused:
            from_npz(npz(x=x, y=y))
        told = {"np": np, "x": x, "y": y}
        exec(refused.value.line, told)  # noqa: S102  (what the message tells people to run)

        labels = from_npz(npz(x=told["x"], y=told["y"])).labels
        assert labels.tolist() == dataset.y_test[: len(labels)].tolist()

    @settings(deadline=None, max_examples=50)
    @given(
        x=arrays(
            st.sampled_from(["?", "u1", "<i2", ">u2", "<f2", "<f4", "<f8", "<c8", "S2", "<U1", "M8[s]"]),
            st.sampled_from([(3, 28, 28), (3, 784), (3, 28, 28, 1), (28, 28), (3,), (), (0, 784), (1, 1, 28, 28)]),
        ),
        y=arrays(
            st.sampled_from(["?", "u1", "<i8", "<f4", "<U2", "<c8"]), st.sampled_from([(3,), (3, 1), (3, 10), (1,), ()])
        ),
    )
    def test_any_arrays_are_drawings_or_refused_in_a_sentence(self, x, y):
        try:
            found = from_npz(npz(x=x, y=y))
        except DataError:
            return
        assert (found.images.dtype, found.images.shape[1:]) == (np.uint8, (28, 28))
        assert (found.labels.dtype, found.labels.shape) == (np.uint8, found.images.shape[:1])
        assert found.labels.max() <= 9

    def test_a_bomb_takes_no_memory(self):
        """A member that unpacks to 64 MB, one that does and says it doesn't, and one that asks for 784 terabytes."""
        bomb = zipped(x=header((85_598, 28, 28)) + bytes(2**26), y=b"")
        size = struct.pack("<I", len(header((85_598, 28, 28))) + 2**26)
        assert bomb.count(size) == 2
        bombs = bomb, bomb.replace(size, struct.pack("<I", 700_000)), zipped(x=header((10**12, 28, 28)), y=b"")

        tracemalloc.start()
        for content in bombs:
            with pytest.raises(DataError):
                from_npz(content)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert peak < 8_000_000


class TestBesideTheRuns:
    def test_it_is_empty_before_anything_is_kept(self, runs_root):
        assert len(handwriting.at(str(runs_root))) == 0

    def test_what_is_kept_is_there_for_another_tab(self, runs_root):
        three = drawings(3)

        for image, label in zip(three.images, three.labels, strict=True):
            handwriting.change(str(runs_root), lambda now, i=image, k=label: now.kept(i, int(k)))
        assert same(handwriting.at(str(runs_root)), three)

        for _ in range(3):
            handwriting.change(str(runs_root), lambda now: now.without(0))
        assert len(handwriting.at(str(runs_root))) == 0

    def test_a_damaged_file_is_said_and_left_alone(self, runs_root):
        runs_root.mkdir()
        (runs_root / FILE).write_bytes(b"no drawings")

        with pytest.raises(DataError, match="Move the file away"):
            handwriting.at(str(runs_root))
        with pytest.raises(DataError, match="Move the file away"):
            handwriting.change(str(runs_root), lambda now: now.added(drawings(1)))
        assert (runs_root / FILE).read_bytes() == b"no drawings"

    def test_no_room_is_said_and_nothing_is_lost(self, runs_root):
        handwriting.change(str(runs_root), lambda now: now.added(drawings(2)))
        runs_root.chmod(0o500)
        (runs_root / FILE).chmod(0o400)
        try:
            handwriting.change("file:///proc/nowhere", lambda now: now.added(drawings(3)))
        except StorageFull as error:
            said = str(error)
        finally:
            runs_root.chmod(0o700)

        assert said.startswith("Your handwriting (0.0 MB) can't be written: No such file or directory.")
        assert len(handwriting.at(str(runs_root))) == 2
