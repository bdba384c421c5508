"""What a stack costs, against sums by hand and Keras; what is wrong with an impossible one, and what repairs it."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.errors import SpecError
from core.model import ledger, presets, specs
from core.model.ledger import Row
from core.model.specs import (
    SGD,
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Experiment,
    Flatten,
    GlobalAveragePooling2D,
    MaxPooling2D,
    Residual,
    SeparableConv2D,
    SpatialDropout2D,
    Training,
    replaced,
)
from tests.strategies import SMALL, layers, stacks

ANY_STACK = st.lists(layers(SMALL), max_size=8).map(tuple)


class TestByHand:
    """Sums are left as they are worked out: kernel height * kernel width * channels + bias, times filters."""

    def test_lenet_5(self):
        c1, s2, c3, s4, flatten, c5, f6 = presets.LENET_5.experiment.layers

        assert ledger.read(presets.LENET_5.experiment.layers).rows == (
            Row(c1, (28, 28, 1), (28, 28, 6), (5 * 5 * 1 + 1) * 6, 28 * 28 * 6 * 5 * 5 * 1, 5),
            Row(s2, (28, 28, 6), (14, 14, 6), 0, 0, 5 + 1 * 1),
            Row(c3, (14, 14, 6), (10, 10, 16), (5 * 5 * 6 + 1) * 16, 10 * 10 * 16 * 5 * 5 * 6, 6 + 4 * 2),
            Row(s4, (10, 10, 16), (5, 5, 16), 0, 0, 14 + 1 * 2),
            Row(flatten, (5, 5, 16), (5 * 5 * 16,), 0, 0, 16),
            Row(c5, (400,), (120,), (400 + 1) * 120, 400 * 120, 28),
            Row(f6, (120,), (84,), (120 + 1) * 84, 120 * 84, 28),
            Row(specs.OUTPUT_LAYER, (84,), (10,), (84 + 1) * 10, 84 * 10, 28),
        )

    def test_first_cnn(self):
        conv, pool, flatten, dense, dropout = presets.FIRST_CNN.experiment.layers

        assert ledger.read(presets.FIRST_CNN.experiment.layers).rows == (
            Row(conv, (28, 28, 1), (26, 26, 28), (3 * 3 * 1 + 1) * 28, 26 * 26 * 28 * 3 * 3 * 1, 3),
            Row(pool, (26, 26, 28), (13, 13, 28), 0, 0, 3 + 1 * 1),
            Row(flatten, (13, 13, 28), (13 * 13 * 28,), 0, 0, 4),
            Row(dense, (4732,), (128,), (4732 + 1) * 128, 4732 * 128, 28),
            Row(dropout, (128,), (128,), 0, 0, 28),
            Row(specs.OUTPUT_LAYER, (128,), (10,), (128 + 1) * 10, 128 * 10, 28),
        )

    def test_sums_over_a_stack(self):
        stack = (Conv2D(filters=2, kernel_size=3, use_bias=False), BatchNormalization(), GlobalAveragePooling2D())

        read = ledger.read(stack)

        assert read.problem is None
        assert read.parameters == 3 * 3 * 1 * 2 + 4 * 2 + (2 + 1) * 10
        assert read.bytes == 4 * (3 * 3 * 1 * 2 + 4 * 2 + (2 + 1) * 10)
        assert read.macs == 26 * 26 * 2 * 3 * 3 + 26 * 26 * 2 + 2 * 10
        assert read.activations == 28 * 28 + 26 * 26 * 2 + 26 * 26 * 2 + 2 + 10

    def test_counts_bias_and_channels_of_every_kind_of_window(self):
        stack = (
            Conv2D(filters=3, kernel_size=4, strides=3, padding="valid", use_bias=False),
            Conv2D(filters=5, kernel_size=2, strides=2, padding="same"),
            AveragePooling2D(pool_size=3, strides=2, padding="same"),
            Flatten(),
            Dense(units=7, use_bias=False),
        )

        read = ledger.read(stack)

        assert [row.output_shape for row in read.rows] == [
            ((28 - 4) // 3 + 1, (28 - 4) // 3 + 1, 3),
            (math.ceil(9 / 2), math.ceil(9 / 2), 5),
            (math.ceil(5 / 2), math.ceil(5 / 2), 5),
            (3 * 3 * 5,),
            (7,),
            (10,),
        ]
        assert [row.parameters for row in read.rows] == [4 * 4 * 3, (2 * 2 * 3 + 1) * 5, 0, 0, 45 * 7, (7 + 1) * 10]


class TestAgainstKeras:
    @given(stacks())
    @settings(max_examples=80)  # each builds a network, a fifth of a second
    def test_shapes_and_parameters_are_those_of_the_network_that_is_built(self, stack):
        """Plain steps, for which Keras makes the fewest variables."""
        from core.model import keras_model

        read = ledger.read(stack)
        network = keras_model.build(
            Experiment(layers=stack, training=Training(batch_size=1, optimizer=SGD(momentum=0.0)))
        )
        parts = [parts_of(network, index) for index in range(1, len(stack) + 1)] + [network.layers[-1:]]

        assert [(row.output_shape, row.parameters) for row in read.rows] == [
            (part[-1].output.shape[1:], sum(layer.count_params() for layer in part)) for part in parts
        ]
        assert read.parameters == network.count_params()


def parts_of(network, index: int) -> list:
    """The Keras layers that a layer of the stack became, counted from 1: one, or those of a block, its end last."""
    return [layer for layer in network.layers if layer.name.startswith(f"{index:02d}_")]


RECEPTIVE = [
    (Conv2D(kernel_size=3),),
    (Conv2D(kernel_size=1),),
    (Conv2D(kernel_size=4, strides=3),),
    (MaxPooling2D(pool_size=2),),
    (MaxPooling2D(pool_size=3, strides=2, padding="same"),),
    (AveragePooling2D(pool_size=2, strides=5),),
    (Conv2D(kernel_size=3), Conv2D(kernel_size=3), Conv2D(kernel_size=3)),
    (Conv2D(kernel_size=5, padding="same"), MaxPooling2D(), Conv2D(kernel_size=5), AveragePooling2D()),
    (Conv2D(kernel_size=3, strides=2), BatchNormalization(), Activation(), MaxPooling2D(pool_size=3, strides=1)),
    (MaxPooling2D(pool_size=2, strides=3), Conv2D(kernel_size=2), Dropout(), Conv2D(kernel_size=2, strides=2)),
    (Conv2D(filters=4, kernel_size=7, padding="same"),) * 6,
    (Conv2D(filters=2, kernel_size=28, padding="same"),) * 2,
    (Conv2D(kernel_size=3), MaxPooling2D(pool_size=5), GlobalAveragePooling2D()),
    (GlobalAveragePooling2D(),),
    (Conv2D(kernel_size=5), Flatten()),
    (MaxPooling2D(pool_size=7), Flatten(), Dense(units=3)),
    (SeparableConv2D(filters=3, kernel_size=5, depth_multiplier=2), MaxPooling2D()),
    (Residual(filters=4, strides=2), Residual(filters=4)),
]


class TestReceptiveField:
    @pytest.mark.parametrize(
        "stack", RECEPTIVE, ids=lambda stack: ", ".join(f"{layer.kind} {layer.caption()}" for layer in stack)
    )
    def test_is_the_widest_stretch_of_pixels_that_move_one_output(self, stack):
        """Every pixel is lit alone. With positive weights and no bias, an output answers to exactly those it sees."""
        import keras

        from core.model import keras_model

        whole = stack if ledger.read(stack).problem is None else (*stack, Flatten())
        network = keras_model.build(Experiment(layers=whole, training=Training(batch_size=1)))
        for variable in network.trainable_variables:
            variable.assign(np.zeros(variable.shape) if variable.name in ("bias", "beta") else np.ones(variable.shape))
        seen = keras.Model(network.inputs, parts_of(network, len(stack))[-1].output)
        pixels = 255 * np.eye(28 * 28, dtype=np.float32).reshape(-1, 28, 28, 1)

        lit = seen.predict_on_batch(pixels).reshape(28, 28, -1) > 0

        widest = max(extent(lit.any(axis=axis)) for axis in (0, 1))
        assert ledger.read(stack).rows[len(stack) - 1].receptive_field == widest


def extent(lit: np.ndarray) -> int:
    """From the first to the last lit row, at the most, over all outputs. (28, outputs) bool."""
    return max(int(np.ptp(np.flatnonzero(column))) + 1 for column in lit.T if column.any())


class TestProblems:
    @pytest.mark.parametrize(
        ("stack", "index", "reason", "repair"),
        [
            (
                (),
                0,
                "The output layer: Dense needs a flat vector, but what reaches it is an image: 28 × 28 × 1.",
                (Flatten(),),
            ),
            (
                (Conv2D(),),
                1,
                "The output layer: Dense needs a flat vector, but what reaches it is an image: 26 × 26 × 32.",
                (Conv2D(), Flatten()),
            ),
            (
                (Dense(units=3),),
                0,
                "Layer 1, Dense: Dense needs a flat vector, but what reaches it is an image: 28 × 28 × 1.",
                (Flatten(), Dense(units=3)),
            ),
            (
                (Flatten(), Dense(units=3), Conv2D()),
                2,
                "Layer 3, Conv2D: Conv2D needs an image (height, width, channels), but what reaches it is flat: 3.",
                (Conv2D(), Flatten(), Dense(units=3)),
            ),
            (
                (GlobalAveragePooling2D(), MaxPooling2D()),
                1,
                "Layer 2, MaxPooling2D: MaxPooling2D needs an image (height, width, channels), "
                "but what reaches it is flat: 1.",
                (MaxPooling2D(), GlobalAveragePooling2D()),
            ),
            (
                (Flatten(), Flatten()),
                1,
                "Layer 2, Flatten: Flatten needs an image (height, width, channels), but what reaches it is flat: 784.",
                (Flatten(),),
            ),
            (
                (Flatten(), GlobalAveragePooling2D(), Dense(units=3)),
                1,
                "Layer 2, GlobalAveragePooling2D: GlobalAveragePooling2D needs an image (height, width, channels), "
                "but what reaches it is flat: 784.",
                (Flatten(), Dense(units=3)),
            ),
            (
                (MaxPooling2D(pool_size=14), Conv2D(filters=1), Flatten()),
                1,
                "Layer 2, Conv2D: a 3 × 3 window doesn't fit into an image of 2 × 2 pixels.",
                (MaxPooling2D(pool_size=14), Conv2D(filters=1, padding="same"), Flatten()),
            ),
        ],
        ids=lambda value: None,
    )
    def test_are_named_with_what_repairs_them(self, stack, index, reason, repair):
        problem = ledger.read(stack).problem

        assert (problem.index, problem.reason, problem.repair.layers) == (index, reason, repair)

    def test_a_stack_that_is_full_is_not_offered_one_more_layer(self):
        full = (Dropout(),) * specs.MAX_LAYERS

        problem = ledger.read(full).problem

        assert problem == ledger.Problem(
            24, "The output layer: Dense needs a flat vector, but what reaches it is an image: 28 × 28 × 1.", None
        )

    @given(ANY_STACK)
    @settings(deadline=None, max_examples=200)
    def test_rows_end_where_the_problem_is_and_the_reason_names_its_layer(self, stack):
        read = ledger.read(stack)

        if read.problem is None:
            assert [row.layer for row in read.rows] == [*stack, specs.OUTPUT_LAYER]
        else:
            place = read.problem.index
            assert [row.layer for row in read.rows] == list(stack[:place])
            named = f"Layer {place + 1}, {stack[place].kind}: " if place < len(stack) else "The output layer: "
            assert read.problem.reason.startswith(named)

    @given(ANY_STACK)
    @settings(deadline=None, max_examples=200)
    def test_a_repair_mends_what_it_is_offered_for(self, stack):
        """What comes after the layer at fault is left out, for it may hold the same fault again."""
        problem = ledger.read(stack).problem
        assume(problem is not None)
        repair = ledger.read(stack[: problem.index + 1]).problem.repair

        mended = ledger.read(repair.layers)

        assert repair.label
        assert mended.problem is None or mended.problem.index != problem.index

    @given(ANY_STACK)
    @settings(deadline=None, max_examples=200)
    def test_following_the_repairs_ends_in_a_network(self, stack):
        for _ in range(2 * len(stack) + 1):
            problem = ledger.read(stack).problem
            if problem is None:
                break
            stack = problem.repair.layers

        assert ledger.read(stack).problem is None

    @given(stacks())
    @settings(deadline=None)
    def test_stacks_made_to_fit_have_none(self, stack):
        assert ledger.read(stack).problem is None


class TestLimits:
    def test_too_many_parameters_are_refused_where_most_of_them_stand(self):
        stack = (Flatten(), Dense(units=4096), Dense(units=1000))

        problem = ledger.read(stack).problem

        parameters = (784 + 1) * 4096 + (4096 + 1) * 1000 + (1000 + 1) * 10
        assert problem == ledger.Problem(
            2,
            f"This network would have {parameters:,} parameters; at most 5,000,000 are allowed. "
            "Most of them stand in layer 3, Dense.",
            ledger.Repair("Set its units to 250", (Flatten(), Dense(units=4096), Dense(units=250))),
        )

    @pytest.mark.parametrize(
        ("stack", "label", "layers"),
        [
            (
                (Conv2D(filters=28), MaxPooling2D(), Flatten(), Dense(units=4096)),
                "Add a 2×2 MaxPooling2D before the Flatten",
                (Conv2D(filters=28), MaxPooling2D(), MaxPooling2D(), Flatten(), Dense(units=4096)),
            ),
            (
                (Conv2D(filters=512), Flatten(), Dense(units=512)),
                "Add a 6×6 MaxPooling2D before the Flatten",  # 4 * 4 * 512 values, and 5 * 5 * 512 with the next smaller
                (Conv2D(filters=512), MaxPooling2D(pool_size=6), Flatten(), Dense(units=512)),
            ),
            (
                (Conv2D(filters=512), SeparableConv2D(kernel_size=28, depth_multiplier=8, padding="same"), Flatten()),
                "Divide all filters and units by 16",  # fewer of the second alone leave 26 * 26 * 512 * 8 * 28 * 28
                (
                    Conv2D(filters=32),
                    SeparableConv2D(filters=2, kernel_size=28, depth_multiplier=8, padding="same"),
                    Flatten(),
                ),
            ),
        ],
        ids=["pooling", "a larger pooling", "less of all"],
    )
    def test_what_is_too_large_is_repaired_with_as_little_as_is_enough(self, stack, label, layers):
        assert ledger.read(stack).problem.repair == ledger.Repair(label, layers)

    @given(stacks({}))
    @settings(deadline=None)
    def test_every_stack_beyond_them_has_a_repair_that_can_be_built(self, stack):
        problem = ledger.read(stack).problem

        if problem is not None:
            assert problem.repair.label
            assert len(problem.repair.layers) <= specs.MAX_LAYERS
            assert ledger.read(problem.repair.layers).problem is None

    @pytest.mark.parametrize("kind", [Conv2D, SeparableConv2D, Residual])
    def test_the_heaviest_stack_of_a_kind_has_one_too(self, kind):
        most = {"filters": specs.MAX_FILTERS, "kernel_size": 28, "padding": "same", "depth_multiplier": 8}
        layer = kind(**{name: value for name, value in most.items() if name in kind.model_fields})
        stack = (*[layer] * (specs.MAX_LAYERS - 1), Flatten())

        repair = ledger.read(stack).problem.repair

        assert ledger.read(repair.layers).problem is None

    def test_the_output_layer_is_called_so(self):
        stack = (
            Conv2D(filters=512, kernel_size=1),
            Conv2D(filters=512, kernel_size=2, padding="same"),  # (2 * 2 * 512 + 1) * 512 parameters
            Flatten(),  # and (28 * 28 * 512 + 1) * 10 in what follows
        )

        problem = ledger.read(stack).problem

        assert problem.index == 3
        assert problem.reason.endswith("Most of them stand in the output layer.")

    def test_too_many_multiply_adds_are_refused_where_most_of_them_stand(self):
        stack = (
            Conv2D(filters=64, padding="same"),
            Conv2D(filters=512, kernel_size=3, padding="same"),
            GlobalAveragePooling2D(),
        )

        problem = ledger.read(stack).problem

        assert problem == ledger.Problem(
            1,
            f"This network would take {(28 * 28 * 64 * 9 + 28 * 28 * 512 * 9 * 64 + 512 * 10) / 1e6:,.0f} million "
            "multiply-adds per image; at most 200 million are allowed. Most of them stand in layer 2, Conv2D.",
            ledger.Repair("Set its filters to 256", (stack[0], replaced(stack[1], filters=256), stack[2])),
        )

    def test_the_batch_size_that_is_suggested_is_the_largest_that_fits(self):
        stack = (Conv2D(filters=128, kernel_size=3, padding="same"), GlobalAveragePooling2D())
        held = 28 * 28 + 28 * 28 * 128 + 128 + 10
        largest = 64_000_000 // held

        with pytest.raises(SpecError, match=f"Choose a batch size of {largest} or less, or a smaller network"):
            ledger.check(Experiment(layers=stack, training=Training(batch_size=largest + 1)))
        assert ledger.check(Experiment(layers=stack, training=Training(batch_size=largest))) == ledger.read(stack)

    def test_check_refuses_what_read_finds_wrong(self):
        with pytest.raises(SpecError, match=r"^Layer 2, Flatten: Flatten needs an image"):
            ledger.check(Experiment(layers=(Flatten(), Flatten())))


CONV, RELU = Conv2D(filters=4, activation="linear"), Activation(activation="relu")
END = (Flatten(), Dense(units=8))


class TestHints:
    @pytest.mark.parametrize(
        ("stack", "reason", "repair"),
        [
            (
                (Conv2D(filters=4), BatchNormalization(), BatchNormalization(), *END),
                "Layer 3, BatchNormalization: what reaches it was normalised by the layer before",
                (Conv2D(filters=4), BatchNormalization(), *END),
            ),
            (
                (CONV, Flatten(), Dense(units=8)),
                "Layer 1, Conv2D: it has no activation, and all between it and layer 3 (Dense) is linear",
                (Conv2D(filters=4), Flatten(), Dense(units=8)),
            ),
            (
                (CONV, AveragePooling2D(), Dropout(), Conv2D(filters=4), *END),
                "Layer 1, Conv2D: it has no activation, and all between it and layer 4 (Conv2D) is linear",
                (Conv2D(filters=4), AveragePooling2D(), Dropout(), Conv2D(filters=4), *END),
            ),
            (
                (CONV, MaxPooling2D(), *END),
                "Layer 1, Conv2D: it has no activation: between it and layer 4 (Dense) only the maximum",
                (Conv2D(filters=4), MaxPooling2D(), *END),
            ),
            (
                (Flatten(), Dense(units=8, activation="linear")),
                "Layer 2, Dense: it has no activation, and all between it and the output layer is linear",
                END,
            ),
            (
                (CONV, Residual(filters=4), *END),
                "Layer 1, Conv2D: it has no activation, and all between it and layer 2 (Residual) is linear. That works",
                (Conv2D(filters=4), Residual(filters=4), *END),
            ),
            (
                (CONV, AveragePooling2D(), SeparableConv2D(filters=4), *END),
                "Layer 1, Conv2D: it has no activation, and all between it and layer 3 (SeparableConv2D) is linear. That works",
                (Conv2D(filters=4), AveragePooling2D(), SeparableConv2D(filters=4), *END),
            ),
            (
                (Residual(filters=4, activation="linear"), *END),
                "Layer 1, Residual: it has no activation",
                (Residual(filters=4), *END),
            ),
            (
                (*END, Dropout(rate=0.8)),
                "Layer 3, Dropout: a rate of 0.8 leaves 20% of the values",
                (*END, Dropout(rate=0.5)),
            ),
            (
                (SpatialDropout2D(rate=0.9), *END),
                "Layer 1, SpatialDropout2D: a rate of 0.9 leaves 10% of the values",
                (SpatialDropout2D(rate=0.5), *END),
            ),
            (
                (Conv2D(filters=32), MaxPooling2D(), Flatten(), Dense(units=128)),
                "Layer 4, Dense: it holds 692,352 parameters, 99.8% of all",
                (Conv2D(filters=32), MaxPooling2D(), MaxPooling2D(), Flatten(), Dense(units=128)),
            ),
            (
                (Flatten(), Dense(units=1000)),
                "Layer 2, Dense: it holds 785,000 parameters",
                None,
            ),
            (
                (Conv2D(filters=4, kernel_initializer="zeros"), *END),
                "Layer 1, Conv2D: weights that all begin at zero",
                (Conv2D(filters=4), *END),
            ),
            (
                (SeparableConv2D(filters=4, pointwise_initializer="zeros"), *END),
                "Layer 1, SeparableConv2D: weights that all begin at zero",
                (SeparableConv2D(filters=4), *END),
            ),
            (
                (Conv2D(filters=4), Dropout(), BatchNormalization(), *END),
                "Layer 3, BatchNormalization: the Dropout before it",
                (Conv2D(filters=4), BatchNormalization(), Dropout(), *END),
            ),
            (
                (CONV, BatchNormalization(), RELU, *END),
                "Layer 2, BatchNormalization: it takes the mean away",
                (replaced(CONV, use_bias=False), BatchNormalization(), RELU, *END),
            ),
            (
                (Conv2D(filters=4, kernel_size=2, strides=3), *END),
                "Layer 1, Conv2D: its window is 2 wide but moves by 3",
                (Conv2D(filters=4, kernel_size=2, strides=2), *END),
            ),
            (
                (MaxPooling2D(pool_size=10), *END),
                "Layer 1, MaxPooling2D: its windows end 8 of 28 pixels before",
                (MaxPooling2D(pool_size=10, padding="same"), *END),
            ),
            ((*END, RELU), "Layer 3, Activation: the Dense before it ends in relu already", END),
            ((*END, Dropout(rate=0.0)), "Layer 3, Dropout: as it is set, it changes nothing", END),
            ((MaxPooling2D(pool_size=1), *END), "Layer 1, MaxPooling2D: as it is set, it changes nothing", END),
            ((*END, Activation(activation="linear")), "Layer 3, Activation: as it is set, it changes nothing", END),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_say_why_and_what_would_do_better(self, stack, reason, repair):
        hints = ledger.hints(stack)

        assert [hint.reason.startswith(reason) for hint in hints] == [True]
        assert (hints[0].repair and hints[0].repair.layers) == repair

    @pytest.mark.parametrize("name", ["Fast 99", "LeNet-5", "Keras convnet", "MLP 784-128-10"])
    def test_most_presets_have_none(self, name):
        assert ledger.hints(presets.PRESETS[name].experiment.layers) == ()

    def test_first_cnn_has_its_linear_convolution_and_its_large_dense_pointed_out(self):
        hints = ledger.hints(presets.FIRST_CNN.experiment.layers)

        assert [hint.index for hint in hints] == [0, 3]
        assert "That works" in hints[0].reason

    def test_are_not_given_for_what_can_not_be_built(self):
        assert ledger.hints((Flatten(), Flatten(), Dropout(rate=0.9))) == ()

    def test_a_function_between_two_layers_is_enough(self):
        assert ledger.hints((CONV, AveragePooling2D(), RELU, *END)) == ()

    @given(stacks())
    @settings(deadline=None)
    def test_never_block_and_their_repairs_can_be_built(self, stack):
        for hint in ledger.hints(stack):
            assert hint.reason.startswith(f"Layer {hint.index + 1}, {stack[hint.index].kind}: ")
            if hint.repair is not None:
                assert hint.repair.label
                assert len(hint.repair.layers) <= specs.MAX_LAYERS
                assert ledger.read(hint.repair.layers).problem is None

    @given(stacks())
    @settings(deadline=None)
    def test_following_them_comes_to_an_end(self, stack):
        for _ in range(10 * specs.MAX_LAYERS):
            repairs = [hint.repair for hint in ledger.hints(stack) if hint.repair is not None]
            if not repairs:
                break
            stack = repairs[0].layers

        assert not [hint for hint in ledger.hints(stack) if hint.repair is not None]
