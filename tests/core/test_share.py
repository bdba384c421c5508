"""An experiment in an address, and what happens to addresses on their way."""

import base64
import json
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import presets, share, specs
from core.errors import SpecError
from core.presets import LENET_5
from core.share import experiment_of, link_text
from core.specs import Experiment
from tests.strategies import experiments

ADDRESS_CHARACTERS = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
SHORT = 2000


def packed(content: bytes | str) -> str:
    """Any content as a link would hold it."""
    content = content.encode() if isinstance(content, str) else content
    return base64.urlsafe_b64encode(zlib.compress(content)).decode().rstrip("=")


def edited(**changes: object) -> str:
    return packed(json.dumps({**LENET_5.experiment.model_dump(mode="json"), **changes}))


class TestRoundTrip:
    @given(experiments())
    @settings(deadline=None)
    def test_gives_back_any_experiment(self, experiment):
        text = link_text(experiment)

        assert set(text) <= ADDRESS_CHARACTERS
        assert experiment_of(text) == experiment

    @pytest.mark.parametrize("name", presets.PRESETS)
    def test_presets_are_short(self, name):
        experiment = presets.PRESETS[name].experiment

        assert len(link_text(experiment)) < SHORT / 3
        assert experiment_of(link_text(experiment)) == experiment

    @pytest.mark.parametrize("kind", specs.LAYER_KINDS.values(), ids=lambda kind: kind.__name__)
    def test_a_full_stack_is_short_with_every_number_in_it_another(self, kind):
        numbers = [name for name, field in kind.model_fields.items() if field.annotation is int]
        layers = tuple(
            kind(**{name: 1 + (5 * place + 3 * k) % 8 for k, name in enumerate(numbers)})
            for place in range(specs.MAX_LAYERS)
        )

        text = link_text(Experiment(layers=layers))

        assert len(text) < SHORT
        assert experiment_of(text).layers == layers

    def test_space_around_it_does_no_harm(self):
        assert experiment_of(f" {link_text(LENET_5.experiment)}\n") == LENET_5.experiment


class TestRefusals:
    @pytest.mark.parametrize("length", [0, 1, 50, 300, -5, -1])
    def test_one_cut_short_is_told_to_be_copied_again(self, length):
        with pytest.raises(SpecError, match="Copy the whole link again"):
            experiment_of(link_text(LENET_5.experiment)[:length])

    @pytest.mark.parametrize(
        "text",
        [
            "hello",
            "%%%",
            "a b c d",
            "💥𝄞",
            "é" * 40,
            "\x00",
            "{}",
            link_text(LENET_5.experiment).replace("-", "+").replace("_", "/").swapcase(),
            base64.urlsafe_b64encode(b"not compressed at all").decode(),
        ],
    )
    def test_rubbish_is_called_lost_on_its_way(self, text):
        with pytest.raises(SpecError, match="lost or changed on its way"):
            experiment_of(text)

    @pytest.mark.parametrize("version", [2, 99, "three"])
    def test_a_newer_version_is_told(self, version):
        with pytest.raises(SpecError, match="made by a newer Digit Lab"):
            experiment_of(edited(version=version))

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"layers": [{"kind": "Conv2D", "filters": 10_000}]}, "layers.0.Conv2D.filters"),
            ({"layers": [{"kind": "Lambda"}]}, "layers.0"),
            ({"layers": [{"kind": "Dropout"}] * 25}, "layers"),
            ({"training": {"learning_rate": float("nan")}}, "training.learning_rate"),
            ({"training": {"learning_rate": float("inf")}}, "training.learning_rate"),
            ({"training": {"épochs": 1}}, "training.épochs"),
        ],
    )
    def test_what_is_out_of_range_is_named(self, changes, field):
        with pytest.raises(SpecError) as refusal:
            experiment_of(edited(**changes))

        assert str(refusal.value).startswith(f"This link's network can't be used. {field}: ")

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"[" * 90_000, id="deep"),
            pytest.param(b'{"layers":' * 9_000, id="deep object"),
            pytest.param(b"\xff\xfe\x00", id="no text"),
            pytest.param(b"", id="nothing"),
            pytest.param(b"null", id="null"),
        ],
    )
    def test_what_is_no_experiment_is_refused(self, content):
        with pytest.raises(SpecError, match="This link's network can't be used"):
            experiment_of(packed(content))

    def test_a_bomb_is_not_unpacked(self):
        """Five megabytes in a link that is no longer than others."""
        text = packed(b" " * 5_000_000)

        assert len(text) < share.MOST_CHARACTERS
        with pytest.raises(SpecError, match="unpacks to more than 100,000 bytes"):
            experiment_of(text)

    def test_ten_megabytes_are_not_even_looked_at(self):
        with pytest.raises(SpecError, match="is 10,000,000 characters long"):
            experiment_of("x" * 10_000_000)

    def test_something_behind_its_end_is_refused(self):
        content = zlib.compress(LENET_5.experiment.model_dump_json().encode()) + b"and more"

        with pytest.raises(SpecError, match="something behind its end"):
            experiment_of(base64.urlsafe_b64encode(content).decode())

    @given(st.text())
    def test_no_text_does_anything_else_than_being_refused(self, text):
        with pytest.raises(SpecError):
            experiment_of(text)

    @given(experiments(), st.data())
    @settings(deadline=None)
    def test_a_link_with_letters_changed_is_the_same_or_refused(self, experiment, data):
        """The checksum of the compression notices."""
        text = link_text(experiment)
        place = data.draw(st.integers(0, len(text) - 1))
        letter = data.draw(st.sampled_from(sorted(ADDRESS_CHARACTERS)))

        with suppress(SpecError):
            assert experiment_of(text[:place] + letter + text[place + 1 :]) == experiment
