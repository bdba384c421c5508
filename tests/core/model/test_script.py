"""The script trains what the lab trains: it is run, and its weights and numbers are compared with the lab's own.

The same bits can be asked for where TensorFlow computes the compiled loop and Keras' `fit` alike, as it does for every
preset. Where it fuses operations in the one and not in the other (batch normalization in a residual block, silu,
elastic changes), weights differ by rounding, some 1e-7 after ten steps. Means differ in the seventh digit always, since
Keras keeps them in float32.
"""

import ast
import inspect
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.data import datasets
from core.errors import SpecError
from core.model import ledger, presets, specs
from core.model import script as scripts
from core.model.specs import (
    SGD,
    Augmentation,
    Conv2D,
    Dense,
    Dropout,
    Experiment,
    Flatten,
    OneCycle,
    Residual,
    SeparableConv2D,
    SpatialDropout2D,
    Training,
)
from core.runs.progress import EpochEnded
from tests import strategies
from tests.randomness import drawing_random_numbers

PRESETS = pytest.mark.parametrize("preset", presets.PRESETS.values(), ids=lambda preset: preset.name)

# Nothing as usual.
UNUSUAL = Experiment(
    layers=(
        Conv2D(filters=4, kernel_size=5, strides=2, kernel_initializer="he_normal", kernel_regularizer=0.001),
        Residual(filters=4, kernel_regularizer=0.0005),
        Residual(filters=8, strides=2, batch_normalization=False, activation="leaky_relu"),
        SeparableConv2D(
            filters=6,
            depth_multiplier=2,
            padding="same",
            depthwise_initializer="he_uniform",
            pointwise_initializer="orthogonal",
            depthwise_regularizer=0.0005,
            pointwise_regularizer=0.001,
        ),
        SpatialDropout2D(rate=0.1),
        Flatten(),
        Dense(units=16, activation="tanh", use_bias=False),
        Dropout(rate=0.2),
    ),
    training=Training(
        epochs=2,
        batch_size=64,
        optimizer=SGD(momentum=0.8, nesterov=True),
        learning_rate=0.1,
        schedule=OneCycle(warmup=0.4),
        label_smoothing=0.1,
        train_size=400,
        validation_split=0.2,
        patience=1,
        augmentation=Augmentation(shift=1.5, rotation=10.0, elastic=1.0, thickness=0.5, noise=0.1),
        seed=3,
    ),
)


def each_optimizer() -> list[Experiment]:
    kinds = get_args(get_args(specs.Optimizer)[0])
    return [Experiment(layers=(Flatten(),), training=Training(optimizer=kind())) for kind in kinds]


@pytest.fixture
def mnist(dataset: datasets.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tests' images as the file that a script reads, and a folder of its own to write to."""
    path = tmp_path / "mnist.npz"
    np.savez(path, **{name: getattr(dataset, name) for name in datasets.ARRAYS})
    monkeypatch.setenv("DIGITLAB_MNIST", str(path))
    monkeypatch.chdir(tmp_path)
    return path


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """What Keras' `fit` reports of each epoch that a script runs in this process."""
    import keras

    told, fit = [], keras.Model.fit

    def recorded(*arguments: Any, **options: Any) -> Any:
        history = fit(*arguments, **options)
        told.append({name: values[0] for name, values in history.history.items()})
        return history

    monkeypatch.setattr(keras.Model, "fit", recorded)
    return told


def smaller(experiment: Experiment, **changes: Any) -> Experiment:
    return specs.replaced(experiment, training=specs.replaced(experiment.training, **changes))


def run(experiment: Experiment) -> Any:
    """The network that the script leaves behind."""
    path = Path("experiment.py")
    path.write_text(scripts.script(experiment), encoding="utf-8")
    return runpy.run_path(str(path))["model"]


def train(experiment: Experiment, dataset: datasets.Dataset) -> tuple[list[np.ndarray], list[EpochEnded]]:
    from core.training import loop

    events: list[Any] = []
    network, _ = loop.train(experiment, dataset, events.append)
    return network.get_weights(), [event for event in events if isinstance(event, EpochEnded)]


def assert_weights(network: Any, expected: list[np.ndarray], atol: float) -> None:
    for values, expected_values in zip(network.get_weights(), expected, strict=True):
        np.testing.assert_allclose(values, expected_values, rtol=0, atol=atol, strict=True)


def assert_rows(rows: list[dict[str, float]], expected: list[EpochEnded], val_loss: str = "val_loss") -> None:
    names = ("loss", "accuracy", val_loss, "val_accuracy")
    ours = [(row.loss, row.accuracy, row.val_loss, row.val_accuracy) for row in expected]

    assert [set(names) & row.keys() for row in rows] == [
        {name for name, value in zip(names, values, strict=True) if value is not None} for values in ours
    ]
    for row, values in zip(rows, ours, strict=True):
        for name, value in zip(names, values, strict=True):
            assert row.get(name) == (value if value is None else pytest.approx(value, rel=1e-5)), name


class TestRun:
    @PRESETS
    def test_a_presets_script_ends_in_the_same_weights_bit_for_bit(self, preset, dataset, mnist, rows):
        experiment = smaller(preset.experiment, epochs=2, train_size=320)
        weights, history = train(experiment, dataset)

        network = run(experiment)

        assert_weights(network, weights, atol=0)
        assert_rows(rows, history)

    def test_a_script_with_everything_unusual_ends_in_the_same_weights_but_for_rounding(self, dataset, mnist, rows):
        weights, history = train(UNUSUAL, dataset)

        network = run(UNUSUAL)

        assert_weights(network, weights, atol=3e-6)
        assert_rows(rows, history, val_loss="val_cross_entropy")

    def test_a_script_stops_as_early_as_the_lab(self, tiny, dataset, mnist, rows):
        """Steps too long for it soon make it worse again."""
        hasty = smaller(tiny, learning_rate=0.05, epochs=12, patience=2, label_smoothing=0.2)
        _, history = train(hasty, dataset)

        run(hasty)

        best = min(history, key=lambda row: row.val_loss)
        assert len(history) == best.epoch + 2 < 12
        assert_rows(rows, history, val_loss="val_cross_entropy")

    def test_a_script_run_by_itself_saves_the_same_network_and_tells_its_test_scores(self, tiny, dataset, mnist):
        import keras

        weights, _ = train(tiny, dataset)
        Path("tiny.py").write_text(scripts.script(tiny), encoding="utf-8")

        done = subprocess.run([sys.executable, "tiny.py"], capture_output=True, text=True, check=True, timeout=120)

        network = keras.models.load_model("digits.keras")
        loss, accuracy = network.evaluate(dataset.x_test[..., None], dataset.y_test, verbose=0)
        assert_weights(network, weights, atol=0)
        assert done.stdout.splitlines()[-1] == f"Test images: accuracy {accuracy:.4f}, loss {loss:.4f}"

    def test_a_script_ends_in_the_same_weights_whatever_else_draws_random_numbers_meanwhile(self, tiny, dataset, mnist):
        experiment = specs.replaced(tiny, layers=(*tiny.layers, Dropout(rate=0.3)))
        weights, _ = train(experiment, dataset)

        with drawing_random_numbers():
            network = run(experiment)

        assert_weights(network, weights, atol=0)

    def test_a_script_without_images_held_out_asks_keras_for_mnist(self, tiny, dataset, mnist, rows, monkeypatch):
        import keras

        monkeypatch.delenv("DIGITLAB_MNIST")
        pairs = (dataset.x_train, dataset.y_train), (dataset.x_test, dataset.y_test)
        monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: pairs)
        experiment = smaller(tiny, validation_split=0.0, train_size=200, epochs=1)
        weights, history = train(experiment, dataset)

        network = run(experiment)

        assert_weights(network, weights, atol=0)
        assert_rows(rows, history)
        assert list(rows[0]) == ["accuracy", "loss"]


def part(text: str, *names: str) -> dict[str, Any]:
    """What a script calls by these names, with its imports and functions."""
    wanted = [node for node in ast.parse(text).body if _is_wanted(node, names)]
    namespace: dict[str, Any] = {}
    exec(compile(ast.Module(wanted, type_ignores=[]), "script", "exec"), namespace)  # noqa: S102
    return namespace


def _is_wanted(node: ast.stmt, names: tuple[str, ...]) -> bool:
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id in names for target in node.targets)
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)


class TestParts:
    @pytest.mark.parametrize("kind", get_args(get_args(specs.Schedule)[0])[1:], ids=lambda kind: kind.__name__)
    def test_a_schedule_gives_the_lab_s_learning_rates(self, kind):
        for schedule in (kind(), *(kind(**{name: 0.7}) for name in kind.model_fields if name != "kind")):
            training = Training(learning_rate=0.03, schedule=schedule)
            names = [name.upper() for name in ("learning_rate", *kind.model_fields)]

            script = part(scripts.script(Experiment(layers=(Flatten(),), training=training)), *names)

            learning_rates = script["LEARNING_RATE"] * script["factors"](np.arange(50) / 49)
            np.testing.assert_array_equal(learning_rates.astype(np.float32), training.learning_rates(50))

    @pytest.mark.parametrize("names", [*([name] for name in Augmentation.model_fields), [*Augmentation.model_fields]])
    def test_augmentation_changes_images_as_the_lab_does(self, names, dataset):
        import tensorflow as tf

        from core.training import augmentation as augment

        augmentation = Augmentation(**dict.fromkeys(names, 0.4))
        images, seed = tf.constant(dataset.x_train[:20, ..., None], tf.float32), tf.constant([7, 5])
        experiment = Experiment(layers=(Flatten(),), training=Training(augmentation=augmentation))

        script = part(scripts.script(experiment), "augmentation")

        changed = script["transform"](images, script["augmentation"], seed)
        assert not np.array_equal(changed, images)
        np.testing.assert_allclose(changed, augment.transform(images, augmentation, seed), atol=1e-3)

    @settings(max_examples=8, deadline=None)
    @given(st.lists(strategies.layers(strategies.SMALL), max_size=4), st.integers(0, 1000))
    def test_any_network_is_built_as_the_lab_builds_it(self, layers, seed):
        from core.model import keras_model

        experiment = Experiment(layers=(*layers, Flatten(), Dense(units=8)), training=Training(seed=seed))
        assume(ledger.read(experiment.layers).problem is None)
        text = scripts.script(experiment)
        lines = text[text.index("def seed_layers") : text.index("model.compile")]
        namespace = part(text, "SEED")

        exec(lines, namespace)  # noqa: S102

        network, expected = namespace["model"], keras_model.build(experiment)
        assert_weights(network, expected.get_weights(), atol=0)
        assert configs(network) == configs(expected)

    @pytest.mark.parametrize("experiment", each_optimizer(), ids=lambda experiment: experiment.training.optimizer.kind)
    def test_any_optimizer_is_made_as_the_lab_makes_it(self, experiment):
        import keras

        from core.model import keras_model

        text = scripts.script(experiment)
        namespace = {"keras": keras, "layers": keras.layers, **part(text, "LEARNING_RATE")}

        *_, (kind, arguments) = calls(text, namespace)

        assert _config(kind(**arguments).get_config()) == _config(keras_model.build(experiment).optimizer.get_config())


def configs(network: Any) -> list[tuple[str, dict[str, Any]]]:
    """Kind and arguments of every layer, without names, and without seeds, which count as the weights they gave."""
    kinds = [(type(layer).__name__, _config(layer.get_config())) for layer in network.layers]
    return [(kind, config) for kind, config in kinds if kind != "InputLayer"]


def _config(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _config(inner) for key, inner in value.items() if key not in ("name", "seed", "build_config")}
    return value


# What a script says only where it needs it.
UNUSED = (
    "draw(",
    "validation",
    "Schedule",
    "factors",
    "history",
    "augmentation",
    "smoothing",
    "cross_entropy(",
    "_loss",
)


@pytest.fixture(scope="module")
def file(tiny, dataset, tmp_path_factory):
    """A network's file, with a name that a visitor chose."""
    from core.training import loop

    network, _ = loop.train(smaller(tiny, epochs=4), dataset, lambda event: None)
    saved = tmp_path_factory.mktemp("networks") / "my.keras"
    network.save(saved)
    return saved.rename(saved.with_name('Ann\'s "first" \\ net 3f2a1b.keras'))


class TestUsage:
    def test_it_reads_digits_and_refuses_those_that_were_divided_by_255_before(self, file, dataset, monkeypatch):
        monkeypatch.chdir(file.parent)
        code = scripts.usage(file.name)
        namespace = {"images": dataset.x_test}

        exec(code, namespace)  # noqa: S102

        assert np.mean(namespace["y_pred"] == dataset.y_test) > 0.6
        with pytest.raises(AssertionError, match=r"^Give pixels from 0 \(paper\) to 255 \(ink\)"):
            exec(code, {"images": dataset.x_test / 255})  # noqa: S102

    def test_the_file_itself_says_what_it_takes(self, file):
        import keras

        network = keras.models.load_model(file)

        assert network.input.name == specs.INPUT_NAME == "pixels_0_to_255"

    def test_a_script_ends_with_it(self, tiny):
        lines = scripts.script(tiny).splitlines()[-3:]

        assert [line.removeprefix("#     ") for line in lines] == scripts.usage("digits.keras").splitlines()[-3:]


class TestText:
    def test_a_network_reads_as_one_would_write_it(self):
        text = scripts.script(presets.FIRST_CNN.experiment)

        network = """
model = keras.Sequential(
    [
        keras.Input((28, 28, 1), name="pixels_0_to_255"),
        layers.Rescaling(1 / 255),
        layers.Conv2D(28, 3),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dropout(0.2),
        layers.Dense(10, activation="softmax"),
    ]
)
seed_layers(model, SEED)

model.compile(
    optimizer=keras.optimizers.Adam(learning_rate=LEARNING_RATE),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)

for epoch in range(1, EPOCHS + 1):
"""
        assert network in text

    @pytest.mark.parametrize(
        ("training", "is_said"),
        [(Training(), True), (Training(epochs=1), False), (Training(validation_split=0.0), False)],
        ids=["best epoch", "one epoch", "none held out"],
    )
    def test_it_says_where_the_lab_shows_the_network_of_another_epoch(self, training, is_said):
        text = scripts.script(Experiment(layers=(Flatten(),), training=training))

        said = "What is tested and saved in the end is the network of the last epoch."
        assert (said in ast.get_docstring(ast.parse(text))) is is_said

    def test_a_block_reads_as_two_ways_that_meet(self):
        text = scripts.script(Experiment(layers=(Residual(filters=8, strides=2, batch_normalization=False), Flatten())))

        block = """
inputs = keras.Input((28, 28, 1), name="pixels_0_to_255")
x = layers.Rescaling(1 / 255)(inputs)

# Residual: 8 filters 3×3, strides 2, relu
main = layers.Conv2D(8, 3, strides=2, padding="same")(x)
main = layers.Activation("relu")(main)
main = layers.Conv2D(8, 3, padding="same")(main)
shortcut = layers.Conv2D(8, 1, strides=2, padding="same")(x)
x = layers.Add()([main, shortcut])
x = layers.Activation("relu")(x)

x = layers.Flatten()(x)
outputs = layers.Dense(10, activation="softmax")(x)
model = keras.Model(inputs, outputs)
seed_layers(model, SEED)
"""
        assert block in text

    def test_what_the_experiment_leaves_alone_is_not_in_the_script(self):
        plain = Experiment(layers=(Flatten(),), training=Training(validation_split=0.0))

        text = scripts.script(plain)

        constants = [line.partition(" = ")[0] for line in text.splitlines() if line.partition(" = ")[0].isupper()]
        assert constants == ["SEED", "EPOCHS", "BATCH_SIZE", "LEARNING_RATE"]
        assert imported(text) == ["os", "keras", "numpy", "keras"]
        assert [word for word in UNUSED if word in text] == []

    def test_no_argument_is_written_that_keras_takes_by_itself(self):
        import keras

        namespace = {"keras": keras, "layers": keras.layers, "LEARNING_RATE": 0.123}
        experiments = [UNUSUAL, *(preset.experiment for preset in presets.PRESETS.values()), *each_optimizer()]
        written = [call for experiment in experiments for call in calls(scripts.script(experiment), namespace)]
        needless = [
            (kind.__name__, name)
            for kind, arguments in written
            for name, value in arguments.items()
            if value == _single(inspect.signature(kind).parameters[name].default)
        ]

        assert len(written) > 50
        assert needless == []

    def test_any_script_compiles_and_is_formatted_and_uses_all_it_names(self, tmp_path):
        texts = [scripts.script(experiment) for experiment in (UNUSUAL, *each_optimizer())]

        @settings(max_examples=50, deadline=None)
        @given(strategies.stacks(), strategies.trainings({"batch_size": 64}))
        def write(layers, training):
            assume(ledger.read(layers).problem is None)
            text = scripts.script(Experiment(layers=layers, training=training))
            compile(text, "script", "exec")
            assert [line for line in text.splitlines() if len(line) > 120] == []
            texts.append(text)

        write()
        for number, text in enumerate(texts):
            (tmp_path / f"script_{number}.py").write_text(text, encoding="utf-8")

        assert ruff("format", "--diff", str(tmp_path)) == (0, "")
        assert ruff("check", "--quiet", "--extend-ignore=T20", str(tmp_path)) == (0, "")

    def test_a_network_that_can_t_be_built_has_no_script(self):
        with pytest.raises(SpecError, match=r"^The output layer: "):
            scripts.script(Experiment(layers=()))


def calls(text: str, namespace: dict[str, Any]) -> list[tuple[type, dict[str, Any]]]:
    """Layers and optimizers that a script makes, with the arguments it gives by name."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    made = [node for node in nodes if ast.unparse(node.func).startswith(("layers.", "keras.optimizers."))]
    return [
        (_evaluated(node.func, namespace), {word.arg: _evaluated(word.value, namespace) for word in node.keywords})
        for node in made
    ]


def _evaluated(node: ast.expr, namespace: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), "script", "eval"), namespace)  # noqa: S307


def _single(value: Any) -> Any:
    """Keras says (1, 1) where we say 1."""
    return value[0] if isinstance(value, tuple) else value


def imported(text: str) -> list[str]:
    """Modules, in order."""
    imports = [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
    return [node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports]


def ruff(*command: str) -> tuple[int, str]:
    """What our formatter and linter have to say."""
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--config", "pyproject.toml"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout
