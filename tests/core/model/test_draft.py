"""Layers keep their names through edits, and a draft knows what in it isn't as in its preset."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.model import draft, presets
from core.model.draft import Difference
from core.model.presets import FIRST_CNN, LENET_5
from core.model.specs import Activation, Dropout, Experiment, Flatten, MaxPooling2D, Training, replaced
from tests.strategies import SMALL, layers


@pytest.fixture
def first():
    return draft.of_preset(FIRST_CNN.name)


class TestEdits:
    def test_a_preset_is_what_it_says_under_new_names(self, first):
        again = draft.of_preset(FIRST_CNN.name)

        assert first.experiment == FIRST_CNN.experiment
        assert not set(first.layer_ids) & set(again.layer_ids)

    def test_a_changed_layer_keeps_its_name(self, first):
        name = first.layer_ids[3]

        changed = first.with_layer(name, replaced(first.layer(name), units=7))

        assert changed.layer_ids == first.layer_ids
        assert changed.experiment.layers[3].units == 7
        assert first.experiment == FIRST_CNN.experiment

    def test_moving_takes_the_name_along_and_ends_are_ends(self, first):
        a, b, *rest = first.layer_ids

        assert first.with_moved(a, 1).layer_ids == (b, a, *rest)
        assert first.with_moved(a, -1) is first
        assert first.with_moved(rest[-1], 1) is first

    def test_a_copy_stands_behind_its_original_under_a_new_name(self, first):
        name = first.layer_ids[1]

        doubled = first.with_copy(name)

        assert doubled.layers[1:3] == (MaxPooling2D(), MaxPooling2D())
        assert doubled.layer_ids[1] == name
        assert doubled.layer_ids[2] not in first.layer_ids

    def test_a_copy_of_what_is_off_is_off(self, first):
        name = first.layer_ids[1]

        doubled = first.with_switched(name).with_copy(name)

        assert doubled.off == {name, doubled.layer_ids[2]}
        assert doubled.experiment == first.with_switched(name).experiment

    def test_what_is_off_is_kept_but_not_trained(self, first):
        name = first.layer_ids[4]

        off = first.with_switched(name)

        assert off.layers == first.layers
        assert off.experiment.layers == FIRST_CNN.experiment.layers[:4]
        assert off.with_switched(name) == first

    def test_an_empty_stack_stays_of_its_preset(self, first):
        empty = first.with_switched(first.layer_ids[0]).cleared()

        assert empty.layers == ()
        assert empty.off == frozenset()
        assert empty.differences.removed == 5


class TestOtherNetwork:
    def test_what_is_the_same_keeps_its_name(self, first):
        conv, pool, flatten, dense, dropout = first.layers

        pooled = first.with_network((conv, pool, MaxPooling2D(), flatten, dense, dropout))

        kept = [name for name in pooled.layer_ids if name in first.layer_ids]
        assert kept == list(first.layer_ids)
        assert pooled.layers == (conv, pool, MaxPooling2D(), flatten, dense, dropout)

    def test_one_of_the_same_kind_takes_the_place_and_name(self, first):
        conv, *rest = first.layers

        other = first.with_network((replaced(conv, filters=3), *rest))

        assert other.layer_ids == first.layer_ids

    def test_what_is_off_stays_behind_its_neighbour(self, first):
        dropout = first.layer_ids[4]
        off = first.with_moved(dropout, -1).with_moved(dropout, -1).with_switched(dropout)
        conv, pool, flatten, dense = off.experiment.layers

        other = off.with_network((conv, pool, flatten, Activation(), dense))

        assert [layer.kind for layer in other.layers] == [
            "Conv2D",
            "MaxPooling2D",
            "Dropout",
            "Flatten",
            "Activation",
            "Dense",
        ]
        assert other.off == {dropout}

    @given(st.lists(layers(SMALL), max_size=6), st.lists(layers(SMALL), max_size=6), st.sets(st.integers(0, 5)))
    @settings(deadline=None)
    def test_is_the_network_that_was_given_whatever_was_there(self, old, new, off):
        before = draft.of_preset(LENET_5.name).with_network(tuple(old))
        for place in off & set(range(len(old))):
            before = before.with_switched(before.layer_ids[place])

        after = before.with_network(tuple(new))

        assert after.experiment.layers == tuple(new)
        assert len(set(after.layer_ids)) == len(after.layer_ids)
        assert after.off == before.off


class TestDifferences:
    def test_a_preset_has_none(self, first):
        assert not first.differences.count

    def test_are_told_by_layer_and_field(self, first):
        conv, pool, flatten, dense, dropout = first.layer_ids
        changed = (
            first.with_layer(conv, replaced(first.layer(conv), filters=8, kernel_size=5))
            .with_moved(dropout, -1)
            .with_switched(pool)
            .without(flatten)
            .with_added(Dropout())
            .with_training(replaced(first.training, epochs=3))
        )
        added = changed.layer_ids[-1]

        differences = changed.differences

        moved = {name for name, difference in differences.layers.items() if difference.is_moved}
        assert len(moved) == 1
        assert moved < {dense, dropout}
        assert {name: d for name, d in differences.layers.items() if name not in moved} == {
            conv: Difference(fields=("filters", "kernel_size")),
            pool: Difference(is_off=True),
            added: Difference(is_added=True),
        }
        assert (differences.removed, differences.training, differences.count) == (1, ("epochs",), 6)

    def test_taken_back_by_hand_are_gone(self, first):
        conv = first.layer_ids[0]

        back = first.with_layer(conv, replaced(first.layer(conv), filters=8)).with_layer(conv, first.layer(conv))

        assert not back.differences.count


class TestOfExperiment:
    @pytest.mark.parametrize("name", presets.PRESETS)
    def test_a_preset_is_known_again(self, name):
        found = draft.of_experiment(presets.PRESETS[name].experiment)

        assert (found.preset, found.differences.count) == (name, 0)

    def test_another_is_held_against_the_preset_it_differs_least_from(self):
        lenet = LENET_5.experiment
        other = replaced(lenet, layers=(*lenet.layers, Dropout()), training=replaced(lenet.training, epochs=3))

        found = draft.of_experiment(other)

        assert (found.preset, found.experiment, found.differences.count) == (LENET_5.name, other, 2)

    def test_an_empty_one_is_possible(self):
        assert draft.of_experiment(Experiment(layers=(), training=Training())).layers == ()

    def test_its_layers_have_names_of_their_own(self):
        one, two = (draft.of_experiment(Experiment(layers=(Flatten(), Flatten()))) for _ in range(2))

        assert not set(one.layer_ids) & set(two.layer_ids)
