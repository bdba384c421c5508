"""What an experiment may say. Anything else is refused with a SpecError naming the field; nothing else is raised."""

import json
import math
from contextlib import suppress
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import SpecError
from core.model import specs
from core.model.specs import (
    SGD,
    Activation,
    Adam,
    Augmentation,
    Constant,
    Conv2D,
    Cosine,
    Dense,
    Dropout,
    Experiment,
    Exponential,
    Flatten,
    MaxPooling2D,
    OneCycle,
    Spec,
    Training,
    parse_experiment,
    replaced,
)
from tests.strategies import experiments, stated

PLAIN = Experiment(layers=(Conv2D(), MaxPooling2D(), Dropout(), Flatten(), Dense()), training=Training())


def members(union: Any) -> tuple[type[Spec], ...]:
    """The classes of a discriminated union."""
    return get_args(get_args(union)[0])


ALL_KINDS = [*specs.LAYER_KINDS.values(), *members(specs.Optimizer), *members(specs.Schedule), Augmentation, Training]


def edited(path: tuple[str | int, ...], value: object) -> str:
    """The JSON of PLAIN with one value set."""
    tree = PLAIN.model_dump(mode="json")
    place = tree
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return json.dumps(tree)


class TestParseExperiment:
    @given(experiments())
    @settings(deadline=None)
    def test_gives_back_what_was_written(self, experiment):
        assert parse_experiment(experiment.model_dump_json()) == experiment

    def test_takes_bytes_as_well_as_text(self):
        assert parse_experiment(PLAIN.model_dump_json().encode()) == PLAIN

    def test_fills_in_what_is_left_out(self):
        experiment = parse_experiment('{"layers": [{"kind": "Flatten"}, {"kind": "Dense"}]}')

        assert experiment == Experiment(
            version=1,
            layers=(Flatten(), Dense(units=128, activation="relu", use_bias=True)),
            training=Training(
                epochs=10,
                batch_size=32,
                optimizer=Adam(),
                learning_rate=0.001,
                schedule=Constant(),
                label_smoothing=0.0,
                train_size=60_000,
                validation_split=0.1,
                patience=None,
                augmentation=Augmentation(
                    shift=0.0, rotation=0.0, scale=0.0, shear=0.0, elastic=0.0, thickness=0.0, noise=0.0
                ),
                seed=0,
            ),
        )

    @pytest.mark.parametrize(
        ("path", "value", "field"),
        [
            (("layers", 0, "filters"), "32", "layers.0.Conv2D.filters"),
            (("layers", 0, "filters"), 32.0, "layers.0.Conv2D.filters"),
            (("layers", 0, "filters"), True, "layers.0.Conv2D.filters"),
            (("layers", 0, "filters"), None, "layers.0.Conv2D.filters"),
            (("layers", 0, "filters"), 10**4000, "layers.0.Conv2D.filters"),
            (("layers", 0, "use_bias"), 1, "layers.0.Conv2D.use_bias"),
            (("layers", 0, "padding"), "SAME", "layers.0.Conv2D.padding"),
            (("layers", 0, "activation"), "softmax", "layers.0.Conv2D.activation"),
            (("layers", 0, "activation"), ["relu"], "layers.0.Conv2D.activation"),
            (("layers", 1, "strides"), 0, "layers.1.MaxPooling2D.strides"),
            (("layers", 2, "rate"), math.nan, "layers.2.Dropout.rate"),
            (("layers", 2, "rate"), -math.inf, "layers.2.Dropout.rate"),
            (("layers", 2, "rate"), True, "layers.2.Dropout.rate"),
            (("layers", 2, "rate"), "0.5", "layers.2.Dropout.rate"),
            (("layers", 3, "units"), 10, "layers.3.Flatten.units"),
            (("layers", 4, "kind"), "Lambda", "layers.4"),
            (("layers", 4, "kind"), "dense", "layers.4"),
            (("layers", 4, "kind"), ["Dense"], "layers.4"),
            (("layers", 4, "kind"), None, "layers.4"),
            (("layers", 4), {}, "layers.4"),
            (("layers", 4), "Dense", "layers.4"),
            (("layers", 4), [[[[[[[[[[]]]]]]]]]], "layers.4"),
            (("layers",), {"0": {"kind": "Flatten"}}, "layers"),
            (("layers",), [{"kind": "Dropout"}] * 25, "layers"),
            (("layers",), None, "layers"),
            (("training",), None, "training"),
            (("training",), [], "training"),
            (("training", "learning_rate"), math.inf, "training.learning_rate"),
            (("training", "learning_rate"), 0, "training.learning_rate"),
            (("training", "epochs"), 1e2, "training.epochs"),
            (("training", "optimizer"), "Adam", "training.optimizer"),
            (("training", "optimizer"), {"kind": "Adam", "momentum": 0.9}, "training.optimizer.Adam.momentum"),
            (("training", "schedule"), {"kind": "Cosine"}, "training.schedule"),
            (("training", "schedule"), {"kind": "one-cycle", "warmup": 1.0}, "training.schedule.one-cycle.warmup"),
            (("training", "augmentation"), {"shift": 9}, "training.augmentation.shift"),
            (("training", "seed"), 2**31, "training.seed"),
            (("training", "seed"), -1, "training.seed"),
            (("training", "épochs"), 3, "training.épochs"),
            (("version",), 2, "version"),
            (("version",), "1", "version"),
            (("💥",), "𝄞", "💥"),
        ],
    )
    def test_names_the_field_that_is_wrong(self, path, value, field):
        with pytest.raises(SpecError) as refusal:
            parse_experiment(edited(path, value))

        assert str(refusal.value).partition(": ")[0] == field

    @pytest.mark.parametrize(
        "text",
        [
            "",
            b"",
            " ",
            "null",
            "[]",
            "1",
            '"layers"',
            "{",
            '{"layers": []',
            '{"layers": []}}',
            '{"layers": [],}',
            "{'layers': []}",
            "layers: []",
            "\x00",
            b"\xff\xfe{}",
            b"PK\x03\x04",
            "\ud800",
            '{"layers": ["\\ud800"]}',
            '{"\\u0000": 1}',
            pytest.param("[" * 90_000, id="deep list"),
            pytest.param('{"layers":' * 9_000, id="deep object"),
            pytest.param('{"layers": ' + "[" * 150 + "]" * 150 + "}", id="deep layers"),
            pytest.param('{"layers": [], "version": ' + "1" * 5_000 + "}", id="5,000 digits"),
            pytest.param('{"layers": [], "version": ' + "1" * 4_200 + "}", id="4,200 digits"),
            '{"layers": [], "training": {"learning_rate": 1e999}}',
            pytest.param('{"layers": [' + '{"kind": "Flatten"},' * 4_000 + '{"kind": "Flatten"}]}', id="4,001 layers"),
        ],
        ids=repr,
    )
    def test_refuses_what_is_no_experiment(self, text):
        with pytest.raises(SpecError):
            parse_experiment(text)

    def test_reads_no_further_than_the_limit(self):
        text = " " * specs.MAX_JSON_BYTES + PLAIN.model_dump_json()

        with pytest.raises(SpecError, match=rf"is {len(text):,} bytes of JSON; expected at most 100,000"):
            parse_experiment(text)

    @pytest.mark.parametrize(
        "tree",
        [
            {"layers": [], "x" * 50_000: 1},
            {"layers": [{"kind": "x" * 50_000}]},
            {"layers": [], "training": {"epochs": "x" * 50_000}},
            {"layers": [], "training": {"optimizer": {"kind": "x" * 50_000}}},
        ],
    )
    def test_quotes_only_the_beginning_of_what_is_long(self, tree):
        with pytest.raises(SpecError) as refusal:
            parse_experiment(json.dumps(tree))

        assert len(str(refusal.value)) < 700

    @given(st.data())
    @settings(deadline=None, max_examples=300)
    def test_a_valid_experiment_with_anything_changed_is_valid_or_refused(self, data):
        tree = data.draw(experiments()).model_dump(mode="json")
        place = tree
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
                break
            place = place[key]
        change = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "replace":
            place[key] = data.draw(JSON)
        elif change == "remove":
            del place[key]
        elif isinstance(place, dict):
            place[data.draw(st.text())] = data.draw(JSON)
        else:
            place.insert(key, data.draw(JSON))

        assert_valid_or_refused(json.dumps(tree))

    @given(experiments(), st.data())
    @settings(deadline=None)
    def test_valid_json_with_a_piece_cut_out_or_put_in_is_valid_or_refused(self, experiment, data):
        text = experiment.model_dump_json()
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(start + 30, len(text))))
        piece = data.draw(
            st.text(st.characters(), max_size=10) | st.sampled_from(['"', "{", "}", "[", "]", "NaN", "-"])
        )

        assert_valid_or_refused(text[:start] + piece + text[end:])

    @given(st.binary() | st.text(st.characters()))
    def test_any_other_text_is_refused(self, text):
        with pytest.raises(SpecError):
            parse_experiment(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def assert_valid_or_refused(text: str) -> None:
    with suppress(SpecError):
        experiment = parse_experiment(text)
        assert parse_experiment(experiment.model_dump_json()) == experiment


BOUNDS = [
    pytest.param(kind, name, field, id=f"{kind.__name__}.{name}")
    for kind in ALL_KINDS
    for name, field in kind.model_fields.items()
    if name != "kind" and field.annotation in (int, float)
]


class TestBounds:
    @pytest.mark.parametrize(("kind", "name", "field"), BOUNDS)
    def test_a_value_just_outside_is_refused(self, kind, name, field):
        step = 1 if field.annotation is int else 1e-9
        outside = [
            *(low - step for low in stated(field.metadata, "ge")),
            *stated(field.metadata, "gt"),
            *(high + step for high in stated(field.metadata, "le")),
            *stated(field.metadata, "lt"),
        ]

        assert len(outside) == 2
        for value in outside:
            with pytest.raises(SpecError, match=f"^{name}: "):
                replaced(kind(), **{name: value})

    @pytest.mark.parametrize(("kind", "name", "field"), BOUNDS)
    def test_a_value_on_a_bound_that_belongs_is_kept(self, kind, name, field):
        for value in stated(field.metadata, "ge", "le"):
            assert getattr(replaced(kind(), **{name: value}), name) == value

    @pytest.mark.parametrize("kind", ALL_KINDS)
    def test_every_field_says_what_it_is(self, kind):
        undescribed = [
            name
            for name, field in kind.model_fields.items()
            if name != "kind" and not (field.title and field.description and field.description.endswith("."))
        ]

        assert undescribed == []


class TestReplaced:
    def test_changes_what_is_named_and_nothing_else(self):
        layer = Conv2D(filters=8, kernel_size=5, padding="same", activation="tanh")

        changed = replaced(layer, filters=9)

        assert changed == Conv2D(filters=9, kernel_size=5, padding="same", activation="tanh")
        assert layer == Conv2D(filters=8, kernel_size=5, padding="same", activation="tanh")

    def test_keeps_nested_specs(self):
        training = Training(optimizer=SGD(momentum=0.5), schedule=Cosine(), augmentation=Augmentation(shift=2))

        changed = replaced(PLAIN, training=training)

        assert changed == Experiment(layers=PLAIN.layers, training=training)

    @pytest.mark.parametrize(
        ("spec", "changes", "message"),
        [
            (Conv2D(), {"filters": 0}, "filters: .*greater than or equal to 1.* received 0"),
            (Conv2D(), {"units": 3}, "units: .*not permitted.* received 3"),
            (Conv2D(), {"kind": "Dense"}, "kind: "),
            (Conv2D(), {"filters": float("nan")}, "filters: "),
            (Dropout(), {"rate": float("nan")}, "rate: "),
            (Dropout(), {"rate": "0.5"}, "rate: "),
            (Experiment(layers=()), {"layers": [Flatten()]}, "layers: "),
            (Experiment(layers=()), {"layers": (Flatten(),) * 25}, "layers: .*at most 24"),
            (Experiment(layers=()), {"training": object()}, "training: "),
        ],
    )
    def test_refuses_as_parsing_does(self, spec, changes, message):
        with pytest.raises(SpecError, match=f"^{message}"):
            replaced(spec, **changes)


class TestTraining:
    def test_early_stopping_without_validation_is_refused(self):
        with pytest.raises(SpecError, match="validation_split is 0: hold some images out, or switch it off"):
            replaced(Training(), patience=3, validation_split=0.0)

    def test_early_stopping_is_refused_where_the_share_held_out_is_no_whole_image(self):
        with pytest.raises(SpecError, match="training: early stopping"):
            parse_experiment(
                '{"layers": [], "training": {"patience": 3, "train_size": 20, "validation_split": 0.02}}'  # 0.4 images
            )

    def test_is_a_frozen_hashable_value(self):
        with pytest.raises(ValueError, match="frozen"):
            PLAIN.training.epochs = 3

        assert hash(PLAIN) == hash(parse_experiment(PLAIN.model_dump_json()))


class TestSchedules:
    """At the beginning, in the middle and at the end of eleven batches; the learning rate is 0.5 at its highest."""

    @pytest.mark.parametrize(
        ("schedule", "first", "middle", "last"),
        [
            (Constant(), 1, 1, 1),
            (Cosine(), (1 + 1) / 2, (1 + 0) / 2, (1 - 1) / 2),
            (OneCycle(warmup=0.5), 0.04, 1, 1e-4),
            (OneCycle(warmup=0.25), 0.04, 1e-4 + (1 - 1e-4) * (1 + 0.5) / 2, 1e-4),  # a third of the way down: cos 60°
            (Exponential(final=0.01), 1, 0.1, 0.01),
        ],
    )
    def test_learning_rates_begin_and_end_as_worked_out_by_hand(self, schedule, first, middle, last):
        rates = Training(learning_rate=0.5, schedule=schedule).learning_rates(11)

        assert rates.shape == (11,)
        assert rates.dtype == np.float32
        np.testing.assert_allclose(rates[[0, 5, 10]], [0.5 * first, 0.5 * middle, 0.5 * last], rtol=1e-6, atol=1e-12)

    def test_one_cycle_rises_until_the_end_of_its_warm_up_and_falls_from_there(self):
        rates = Training(schedule=OneCycle(warmup=0.3)).learning_rates(101)

        assert np.argmax(rates) == 30
        assert rates[30] == np.float32(0.001)
        assert (np.diff(rates[:31]) > 0).all()
        assert (np.diff(rates[30:]) < 0).all()

    @pytest.mark.parametrize("kind", members(specs.Schedule))
    def test_one_batch_alone_gets_the_first_rate(self, kind):
        rates = Training(schedule=kind()).learning_rates(1)

        np.testing.assert_array_equal(rates, Training(schedule=kind()).learning_rates(9)[:1])

    @given(experiments(), st.integers(1, 500))
    @settings(deadline=None)
    def test_no_rate_is_negative_or_above_the_learning_rate(self, experiment, steps):
        rates = experiment.training.learning_rates(steps)

        assert rates.shape == (steps,)
        assert np.isfinite(rates).all()
        assert (rates >= 0).all()
        assert (rates <= np.float32(experiment.training.learning_rate)).all()


class TestLayerSpecs:
    @pytest.mark.parametrize(
        ("layer", "caption"),
        [
            (Conv2D(filters=28, kernel_size=3, activation="linear"), "28 filters 3×3"),
            (Conv2D(strides=2, padding="same"), "32 filters 3×3, strides 2, same, relu"),
            (MaxPooling2D(), "2×2"),
            (MaxPooling2D(pool_size=3, strides=2), "3×3, strides 2"),
            (MaxPooling2D(pool_size=3, strides=3), "3×3"),
            (Activation(activation="gelu"), "gelu"),
            (Dropout(rate=0.25), "0.25"),
            (Flatten(), ""),
            (Dense(units=10, activation="linear"), "10 units"),
        ],
    )
    def test_captions_tell_what_is_not_usual(self, layer, caption):
        assert layer.caption() == caption

    @pytest.mark.parametrize("name", specs.LAYER_KINDS)
    def test_a_kind_is_listed_under_its_own_name_and_can_be_in_a_stack(self, name):
        layer = specs.LAYER_KINDS[name]()

        assert layer.kind == name
        assert parse_experiment(json.dumps({"layers": [{"kind": name}]})) == Experiment(layers=(layer,))

    @pytest.mark.parametrize("name", specs.LAYER_KINDS)
    def test_a_kind_says_what_it_does_and_has_an_icon(self, name):
        kind = specs.LAYER_KINDS[name]

        assert kind.about.endswith(".")
        assert kind.icon.startswith(":material/")
        assert kind.icon != specs.LayerSpec.icon
