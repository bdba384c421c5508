"""An experiment in an address, and what happens to addresses on their way."""

import base64
import json
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import SpecError
from core.model import link, presets, specs
from core.model.link import experiment_of, link_text, run_id_of
from core.model.presets import LENET_5
from core.model.specs import Experiment, replaced
from tests.strategies import experiments

ADDRESS_CHARACTERS = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
SHORT = 2000
FIRST = presets.FIRST_CNN.experiment


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

        assert len(text) < link.MOST_CHARACTERS
        with pytest.raises(SpecError, match="unpacks to more than 100,000 bytes"):
            experiment_of(text)

    def test_ten_megabytes_are_not_even_looked_at(self):
        with pytest.raises(SpecError, match="is 10,000,000 characters long"):
            experiment_of("x" * 10_000_000)

    @given(st.text())
    def test_no_text_does_anything_else_than_being_refused(self, text):
        with pytest.raises(SpecError):
            experiment_of(text)


class TestOnItsWay:
    """Chats and mails change a link; the checksum of the compression tells whether the network is whole."""

    @pytest.mark.parametrize(
        "behind", [*".,;:!?)>]}'\"*/_-=&|", "%20", "%2520", "…", "\u200b", ".)", ">.", "</a>", "_and more"]
    )
    def test_what_was_put_behind_does_no_harm(self, behind):
        assert experiment_of(link_text(LENET_5.experiment) + behind) == LENET_5.experiment

    @pytest.mark.parametrize("before", ["<", "(", " ", "\ufeff", "3D", "https://lab.example/build?net=", "_"])
    def test_what_was_put_before_does_no_harm(self, before):
        assert experiment_of(before + link_text(LENET_5.experiment)) == LENET_5.experiment

    @pytest.mark.parametrize(
        "between", ["\r\n ", "=\r\n", "\n> ", "\u200b", "\u00ad", "%0D%0A", "%250A", "\u202e", "\x00"]
    )
    def test_what_was_put_in_between_does_no_harm(self, between):
        text = link_text(LENET_5.experiment)
        lines = [text[place : place + 76] for place in range(0, len(text), 76)]

        assert experiment_of(between.join(lines)) == LENET_5.experiment

    def test_hyphens_may_have_become_dashes(self):
        with_hyphens = next(
            experiment
            for seed in range(1000)
            if "-" in link_text(experiment := replaced(FIRST, training=replaced(FIRST.training, seed=seed)))
        )

        text = link_text(with_hyphens)

        for dash in ("\N{EN DASH}", "\N{NON-BREAKING HYPHEN}"):
            assert experiment_of(text.replace("-", dash)) == with_hyphens

    @given(experiments(), st.data())
    @settings(deadline=None)
    def test_one_sign_more_less_or_other_is_the_same_network_or_none(self, experiment, data):
        text = link_text(experiment)
        place = data.draw(st.integers(0, len(text) - 1))
        sign = data.draw(st.sampled_from(sorted(ADDRESS_CHARACTERS)) | st.characters())
        skipped = data.draw(st.integers(0, 1))

        with suppress(SpecError):
            assert experiment_of(text[:place] + sign + text[place + skipped :]) == experiment
        with suppress(SpecError):
            assert experiment_of(text[:place] + text[place + 1 :]) == experiment

    @pytest.mark.parametrize("change", [str.upper, str.lower, str.swapcase, lambda text: text[::-1]])
    def test_letters_that_lost_their_case_are_refused(self, change):
        with pytest.raises(SpecError, match="Copy the whole link again"):
            experiment_of(change(link_text(LENET_5.experiment)))

    def test_no_single_letter_lost_changed_or_added_makes_another_network(self):
        """Each of some 13,000 links that differ from one in a letter."""
        experiment = presets.PRESETS["LeNet-5"].experiment
        text = link_text(experiment)
        others = {text[:place] + text[place + 1 :] for place in range(len(text))}
        for letter in "".join(sorted(ADDRESS_CHARACTERS))[::5]:
            others |= {text[:place] + letter + text[place + 1 :] for place in range(len(text))}
            others |= {text[:place] + letter + text[place:] for place in range(len(text) + 1)}

        opened = []
        for other in others:
            with suppress(SpecError):
                opened.append(experiment_of(other))

        assert all(found == experiment for found in opened)


class TestRunId:
    @pytest.mark.parametrize(
        "mangled",
        [
            "{}.",
            "{})",
            "<{}>",
            "{},",
            " {}\r\n",
            "{}%20",
            "{}%2520",
            "{}\u200b",
            "abcdefgh\r\n ijklm234",
            "ABCDEFGHIJKLM234",
        ],
    )
    def test_is_found_in_what_came_of_a_link(self, mangled):
        assert run_id_of(mangled.format("abcdefghijklm234")) == "abcdefghijklm234"

    @pytest.mark.parametrize("text", ["", "../../", "189", "%%%"])
    def test_where_there_is_none_it_is_the_text(self, text):
        assert run_id_of(text) == text

    def test_one_with_a_letter_lost_is_no_id(self):
        assert run_id_of("abcdefghijklm23.") == "abcdefghijklm23"
