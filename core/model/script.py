"""An experiment as a Keras script that needs nothing of the lab and trains the very network that the lab trains.

Layers, optimizers, schedules and augmentation are written from their own classes and functions, so that a new one needs
no change here. A script holds only what its experiment uses.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from itertools import pairwise
from pathlib import Path

from core.errors import SpecError
from core.model import ledger, specs
from core.model.specs import Augmentation, Experiment, LayerSpec, Schedule, Shape, Spec, Training

LINE_LENGTH = 120
_TAB = " " * 4

# A layer's size is always written, and by position; any other argument only if Keras' default differs.
_BY_POSITION = ("filters", "units", "kernel_size", "pool_size", "rate")
_KERAS_DEFAULTS = {"activation": "linear", "momentum": 0.0}  # where they differ from ours

# Read, not imported, since they would bring TensorFlow along.
_CORE = Path(__file__).parent.parent
_AUGMENT, _MODEL = _CORE / "training" / "augmentation.py", _CORE / "model" / "keras_model.py"

_HEADER = '''\
"""Train a network to read handwritten digits, with Keras on TensorFlow.

This is what Digit Lab trains, step by step, from the same initial weights. On one machine, with the same versions and
without a GPU, most networks end in the same weights bit for bit; with some, TensorFlow rounds otherwise, by about 1e-7
in the first dozens of steps and by more after many. Mean losses agree to about six digits.
{which}"""'''

_WHICH = """
What is tested and saved in the end is the network of the last epoch. Digit Lab shows the network of the epoch with the
best validation accuracy, unless told otherwise.
"""

_LOAD = """\
# 60,000 training and 10,000 test images of 28 x 28 pixels, ink 255 on paper 0.
if path := os.environ.get("DIGITLAB_MNIST"):  # an .npz file like Keras' own, where there is no network
    with np.load(path) as mnist:
        x_train, y_train, x_test, y_test = (mnist[name] for name in ("x_train", "y_train", "x_test", "y_test"))
else:
    (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
x_train, x_test = x_train[..., np.newaxis], x_test[..., np.newaxis]"""

_DRAW = '''\
def draw(indices, size):
    """Choose `size` of these images at random, each digit with its share of them."""
    digits, counts = np.unique(y_train[indices], return_counts=True)
    sizes, remainders = np.divmod(size * counts, len(indices))
    sizes[np.argsort(-remainders, kind="stable")[: size - sizes.sum()]] += 1
    drawn = [rng.choice(indices[y_train[indices] == d], n, replace=False) for d, n in zip(digits, sizes, strict=True)]
    return np.sort(np.concatenate(drawn))'''

_ONE_HOT = """\
# Label smoothing needs each answer as ten shares.
y_train, y_test = keras.utils.to_categorical(y_train), keras.utils.to_categorical(y_test)"""

_LEARNING_RATES = """\
steps = EPOCHS * math.ceil(len(train) / BATCH_SIZE)
learning_rates = LEARNING_RATE * factors(np.arange(steps) / max(steps - 1, 1))"""

_SCHEDULE = '''\
class Schedule(keras.callbacks.Callback):
    """Sets the learning rate before every batch."""

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = learning_rates[int(self.model.optimizer.iterations)]'''

_BATCHES = '''\
def batches(order, first_step):
    """Return the images in this order, batch by batch, each changed at random; other steps, other changes."""

    def changed(step, batch):
        images, labels = batch
        return transform(tf.cast(images, tf.float32), augmentation, tf.stack([SEED, tf.cast(step, tf.int32)])), labels

    in_order = tf.data.Dataset.from_tensor_slices((x_train[order], y_train[order]))
    return in_order.batch(BATCH_SIZE).enumerate(first_step).map(changed)'''

_TEST = """\
scores = model.evaluate(x_test, y_test, verbose=0, return_dict=True)
print("Test images:", ", ".join(f"{name} {score:.4f}" for name, score in scores.items()))
model.save("digits.keras")"""

_USAGE = """\
model = keras.models.load_model({file})
assert images.max() > 1, "Give pixels from 0 (paper) to 255 (ink): the network divides by 255 itself."
y_pred = model.predict(images.reshape(-1, 28, 28, 1)).argmax(axis=1)"""


def script(experiment: Experiment) -> str:
    """Return the experiment as the text of a Python file.

    Raises:
        SpecError: if the network can't be built, or if it begins with weights that a script can't hold.
    """
    ledger.check(experiment)
    if experiment.fine_tuning is not None:
        raise SpecError(
            "A fine-tuning begins with another run's weights and learns from your drawings, which a script doesn't hold. "
            "Start it again in the lab, which keeps both beside the run: it ends at the same numbers."
        )
    training = experiment.training
    sections = [
        _HEADER.format(which=_WHICH if may_end_elsewhere(training) else ""),
        *_imports(training),
        _constants(training),
        _LOAD,
        *_split(training),
        *([_ONE_HOT] if training.label_smoothing else []),
        _seed_layers(),
        _network(experiment.layers) + "\nseed_layers(model, SEED)",
        _compile(experiment),
        *([_factors(training.schedule), _LEARNING_RATES, _SCHEDULE] if _has_schedule(training) else []),
        *([*_transform(training.augmentation), _BATCHES] if training.augmentation.is_active else []),
        _fit(experiment),
        _TEST,
        "# What digits it reads in images (n, 28, 28), elsewhere and later:\n"
        + textwrap.indent(_used("digits.keras"), "#     "),
    ]
    return _joined(sections)


def usage(file_name: str) -> str:
    """Return Python code that asks a saved network for the digits of `images`, and refuses images that were divided by
    255 before."""
    return f"import keras\n\n# images: (n, 28, 28), ink 255 on paper 0\n{_used(file_name)}"


def _used(file_name: str) -> str:
    return _USAGE.format(file=json.dumps(file_name, ensure_ascii=False))


def may_end_elsewhere(training: Training) -> bool:
    """Return whether the last epoch's network, which the script saves, may differ from the best epoch's, which the lab
    shows."""
    return _is_validated(training) and training.epochs > 1


# --- parts of the script -----------------------------------------------------------------------------------------------


def _imports(training: Training) -> list[str]:
    own = {
        "import math": _has_schedule(training),
        "import os": True,
        "from types import SimpleNamespace": training.augmentation.is_active,
    }
    others = {
        "import keras": True,
        "import numpy as np": True,
        "import tensorflow as tf": training.augmentation.is_active,
        "from keras import layers": True,
    }
    return ["\n".join(line for line, is_used in block.items() if is_used) for block in (own, others)]


def _constants(training: Training) -> str:
    constants: dict[str, object] = {
        "SEED": training.seed,
        "EPOCHS": training.epochs,
        "BATCH_SIZE": training.batch_size,
        "LEARNING_RATE": training.learning_rate,
        **{name.upper(): value for name, value in _fields(training.schedule).items()},
    }
    if training.label_smoothing:
        constants["LABEL_SMOOTHING"] = training.label_smoothing
    if training.train_size < specs.TRAINING_SET_SIZE:
        constants["TRAIN_SIZE"] = training.train_size
    if _is_validated(training):
        constants["VALIDATION_SPLIT"] = training.validation_split
    if training.patience is not None:
        constants["PATIENCE"] = training.patience
    return "\n".join(f"{name} = {value!r}" for name, value in constants.items())


def _split(training: Training) -> list[str]:
    """Return the lines that split the data as `core.data.datasets.split` does."""
    size = "TRAIN_SIZE" if training.train_size < specs.TRAINING_SET_SIZE else "len(y_train)"
    used = f"draw(np.arange(len(y_train)), {size})"
    if _is_validated(training):
        lines = [
            "# Images to train on, and others held out for validation.",
            f"used = {used}",
            "validation = draw(used, round(len(used) * VALIDATION_SPLIT))",
            "train = np.setdiff1d(used, validation)",
        ]
    elif training.train_size < specs.TRAINING_SET_SIZE:
        lines = ["# Images to train on.", f"train = {used}"]
    else:
        return ["train = np.arange(len(y_train))"]
    return ["rng = np.random.default_rng(SEED)", _DRAW, "\n".join(lines)]


def _network(layers: tuple[LayerSpec, ...]) -> str:
    """Return the lines that build the network as `core.model.keras_model.build` does.

    Layers are made in the same order, so that they draw the same initial weights.
    """
    inputs, first = f'keras.Input({specs.IMAGE_SHAPE}, name="{specs.INPUT_NAME}")', "layers.Rescaling(1 / 255)"
    last = f'layers.Dense({specs.CLASSES}, activation="softmax")'
    if any(isinstance(layer, specs.Block) for layer in layers):
        lines, x = _chain(layers, "x", "x", specs.IMAGE_SHAPE)
        lines = [f"inputs = {inputs}", f"x = {first}(inputs)", *lines, f"outputs = {last}({x})"]
        return "\n".join([*lines, "model = keras.Model(inputs, outputs)"]).replace("\n\n\n", "\n\n")
    calls = [
        inputs,
        first,
        *(_call(f"layers.{layer.kind}", _arguments(layer), 2 * _TAB, ",") for layer in layers),
        last,
    ]
    items = "\n".join(f"        {call.removesuffix(',')}," for call in calls)
    return f"model = keras.Sequential(\n    [\n{items}\n    ]\n)"


def _chain(layers: tuple[LayerSpec, ...], x: str, name: str, shape: Shape) -> tuple[list[str], str]:
    """Return the lines that send `x` through the layers under the name `name`, and the name of the result."""
    lines = []
    for layer in layers:
        if isinstance(layer, specs.Block):
            lines += _block(layer, x, name, shape)
        else:
            lines.append(_call(f"{name} = layers.{layer.kind}", _arguments(layer), after=f"({x})"))
        x, shape = name, layer.output_shape(shape)
    return lines, x


def _block(block: specs.Block, x: str, name: str, shape: Shape) -> list[str]:
    prefix = "" if name == "x" else f"{name}_"
    main_lines, main = _chain(block.main(shape), x, f"{prefix}main", shape)
    shortcut_lines, shortcut = _chain(block.shortcut(shape), x, f"{prefix}shortcut", shape)
    after, _ = _chain(block.after(shape), name, name, block.output_shape(shape))
    added = f"{name} = layers.Add()([{main}, {shortcut}])"
    return ["", f"# {block.kind}: {block.caption()}", *main_lines, *shortcut_lines, added, *after, ""]


def _compile(experiment: Experiment) -> str:
    training = experiment.training
    rate = [] if _has_schedule(training) else ["learning_rate=LEARNING_RATE"]
    arguments = [*rate, *_arguments(training.optimizer)]
    optimizer = _call(f"optimizer=keras.optimizers.{training.optimizer.kind}", arguments, _TAB, ",").removesuffix(",")
    loss = '"sparse_categorical_crossentropy"'
    if training.label_smoothing:
        loss = "keras.losses.CategoricalCrossentropy(label_smoothing=LABEL_SMOOTHING)"
    metrics = ['"accuracy"']
    if _loss_is_more(experiment):
        kind = "CategoricalCrossentropy" if training.label_smoothing else "SparseCategoricalCrossentropy"
        metrics.append(f'keras.metrics.{kind}(name="cross_entropy")')
    return _each_on_its_line("model.compile", [optimizer, f"loss={loss}", f"metrics=[{', '.join(metrics)}]"])


def _factors(schedule: Schedule) -> str:
    """Return the schedule's formula as a function, with its fields as constants."""
    source = textwrap.dedent(inspect.getsource(type(schedule).factors))
    return re.sub(
        r"\bself\.(\w+)",
        lambda field: field[1].upper(),
        _plain(source, f"Return what the learning rate is multiplied by. {inspect.getdoc(type(schedule))}"),
    )


def _seed_layers() -> str:
    """Return the source of `core.model.keras_model.seed_layers`."""
    text = _MODEL.read_text(encoding="utf-8")
    return _plain(_source(text, _functions(text)["seed_layers"]))


def _transform(augmentation: Augmentation) -> list[str]:
    """Return `core.training.augmentation.transform` reduced to what is used, with the functions it calls and the values
    they read."""
    text = _AUGMENT.read_text(encoding="utf-8")
    functions = _functions(text)
    transform = _Asked(augmentation).visit(functions.pop("transform"))
    called = _called(transform, functions)
    read = {
        node.attr
        for function in (transform, *called)
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "augmentation"
    }
    values = [f"{name}={value!r}" for name, value in augmentation.model_dump().items() if name in read]
    return [
        _call("augmentation = SimpleNamespace", values),
        _plain(ast.unparse(transform), "Change each image at random."),
        *(_plain(_source(text, function)) for function in called),
    ]


def _fit(experiment: Experiment) -> str:
    training = experiment.training
    order = "np.random.default_rng((SEED, epoch)).permutation(train)"
    arguments = ["x_train[order]", "y_train[order]", "batch_size=BATCH_SIZE", "shuffle=False"]
    if training.augmentation.is_active:
        arguments = ["batches(order, first_step=int(model.optimizer.iterations))", "shuffle=False"]
    if _is_validated(training):
        arguments.append("validation_data=(x_train[validation], y_train[validation])")
    if _has_schedule(training):
        arguments.append("callbacks=[Schedule()]")
    before, name, after = [], "model.fit", []
    if training.patience is not None:
        watched = "val_cross_entropy" if _loss_is_more(experiment) else "val_loss"
        before, name = ["best_loss, best_epoch = np.inf, 0"], "history = model.fit"
        after = [
            f'val_loss = history.history["{watched}"][0]',
            "if val_loss < best_loss:",
            "    best_loss, best_epoch = val_loss, epoch",
            "elif epoch - best_epoch >= PATIENCE:",
            "    break",
        ]
    body = ['print(f"Epoch {epoch} of {EPOCHS}")', f"order = {order}", _each_on_its_line(name, arguments), *after]
    return "\n".join([*before, "for epoch in range(1, EPOCHS + 1):", textwrap.indent("\n".join(body), "    ")])


# --- what is asked for -------------------------------------------------------------------------------------------------


def _is_validated(training: Training) -> bool:
    return round(training.train_size * training.validation_split) > 0


def _has_schedule(training: Training) -> bool:
    return not isinstance(training.schedule, specs.Constant)


def _loss_is_more(experiment: Experiment) -> bool:
    """Return whether Keras' validation loss is more than the cross-entropy that the lab reports and early stopping
    watches.
    """
    has_penalty = any(name.endswith("_regularizer") and value for layer in experiment.layers for name, value in layer)
    return _is_validated(experiment.training) and bool(experiment.training.label_smoothing or has_penalty)


class _Asked(ast.NodeTransformer):
    """A transformer that resolves each `if` by the augmentation's fields in its test: it holds if one of them isn't
    zero.
    """

    def __init__(self, augmentation: Augmentation) -> None:
        self.augmentation = augmentation

    def visit_If(self, node: ast.If) -> list[ast.stmt]:
        fields = [part.attr for part in ast.walk(node.test) if isinstance(part, ast.Attribute)]
        holds = any(getattr(self.augmentation, field) for field in fields)
        chosen = ast.Module(node.body if holds else node.orelse, type_ignores=[])
        self.generic_visit(chosen)
        return chosen.body


def _functions(text: str) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}


def _source(text: str, function: ast.FunctionDef) -> str:
    """Return the lines of a module's text that a function of it takes."""
    return "\n".join(text.splitlines()[function.lineno - 1 : function.end_lineno])


def _called(function: ast.FunctionDef, functions: dict[str, ast.FunctionDef]) -> list[ast.FunctionDef]:
    """Return the functions that it calls, directly or through others, in the order in which they are defined."""
    found, waiting = set(), [function]
    while waiting:
        names = {node.id for node in ast.walk(waiting.pop()) if isinstance(node, ast.Name)} & functions.keys() - found
        found |= names
        waiting += [functions[name] for name in names]
    return [node for name, node in functions.items() if name in found]


# --- how Python is written ---------------------------------------------------------------------------------------------


def _fields(spec: Spec) -> dict[str, object]:
    return {name: value for name, value in spec if name != "kind"}


def _arguments(spec: Spec) -> list[str]:
    """Return a spec's fields as arguments of Keras' class of the same name."""
    arguments = []
    for index, (name, value) in enumerate(_fields(spec).items()):
        if name in _BY_POSITION or (index == 0 and name == "activation"):
            arguments.append(_literal(value))
        elif value != _KERAS_DEFAULTS.get(name, type(spec).model_fields[name].default):
            text = f"keras.regularizers.L2({value!r})" if name.endswith("_regularizer") else _literal(value)
            arguments.append(f"{name}={text}")
    return arguments


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _call(name: str, arguments: list[str], margin: str = "", after: str = "") -> str:
    """Return a call on one line, or with one argument per line if that is too long; `margin` is counted but not
    written.
    """
    line = f"{name}({', '.join(arguments)}){after}"
    if len(margin + line) <= LINE_LENGTH:
        return line
    return _each_on_its_line(name, arguments, margin) + after


def _each_on_its_line(name: str, arguments: list[str], margin: str = "") -> str:
    inner = "".join(f"{margin}    {argument},\n" for argument in arguments)
    return f"{name}(\n{inner}{margin})"


def _plain(source: str, about: str | None = None) -> str:
    """Return a function without types and without `self`, with `about` or else its own docstring."""
    (function,) = _functions(source).values()
    lines, first = source.splitlines(), function.body[0]
    own = ast.get_docstring(function)
    body = lines[first.end_lineno :] if own else lines[first.lineno - 1 :]
    told = about or own
    docstring = [_docstring(told)] if told else []
    return "\n".join([f"def {function.name}({_parameters(function)}):", *docstring, *map(_short_comment, body)])


def _parameters(function: ast.FunctionDef) -> str:
    function.args.args = [ast.arg(argument.arg) for argument in function.args.args if argument.arg != "self"]
    return ast.unparse(function.args)


def _docstring(text: str) -> str:
    """Return the text as a docstring at the beginning of a function's body, wrapped paragraph by paragraph."""
    lines = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n")).split("\n")
    lines[0] = f'"""{lines[0]}'
    lines = [*lines, '"""'] if len(lines) > 1 else [f'{lines[0]}"""']
    return "\n".join(textwrap.fill(line, LINE_LENGTH, initial_indent=_TAB, subsequent_indent=_TAB) for line in lines)


def _short_comment(line: str) -> str:
    """Return a line of code unchanged; a comment that is wider than the script is wrapped."""
    margin, mark, comment = line.partition("# ")
    if len(line) <= LINE_LENGTH or not mark or margin.strip():
        return line
    return textwrap.fill(comment, LINE_LENGTH, initial_indent=margin + mark, subsequent_indent=margin + mark)


def _joined(sections: list[str]) -> str:
    """Return the sections with one empty line between them, and two beside a function or a class."""
    text = sections[0]
    for before, section in pairwise(sections):
        is_definition = any(part.startswith(("def ", "class ")) for part in (before, section))
        text += ("\n\n\n" if is_definition else "\n\n") + section
    return text + "\n"
