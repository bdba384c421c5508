"""How long Fast 99 takes for its whole recipe, over the common first tutorial's network trained as its article writes it.

Each training has a fresh process with TensorFlow loaded; the clock runs from before the network is built to the
training's end, with compilation in it and reading the data and the test outside it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np

from benchmarks import limit, report
from core.data import datasets
from core.model import presets
from core.model.specs import replaced

Result = tuple[float, float]  # seconds, share of the test images read right


def main() -> None:
    """Train one seed of Fast 99, the article's network, and the other seeds, and time each."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument(
        "--article-epochs", type=int, default=10, help="fewer for a quick look; then no ratio to quote"
    )
    arguments.add_argument(
        "--seeds", type=int, default=3, help="how often Fast 99 is trained, each time with another seed"
    )
    arguments = arguments.parse_args()
    epochs, seeds = arguments.article_epochs, range(arguments.seeds)
    report.demand_mnist()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    fast = [_in_fresh_process("Fast 99", _fast_99, 0)]
    article = _in_fresh_process("First CNN", _article, epochs)
    fast += [_in_fresh_process("Fast 99", _fast_99, seed) for seed in seeds[1:]]

    seconds, accuracies = np.array(fast).T
    rows = [(f"Fast 99, seed {seed}", *figures) for seed, figures in zip(seeds, fast, strict=True)]
    report.table(
        "From building the network to the end of its training",
        ["", "seconds", "test accuracy"],
        [
            [name, taken, f"{accuracy:.2%}"]
            for name, taken, accuracy in [*rows, (f"First CNN, {epochs} epochs of fit", *article)]
        ],
    )
    report.result(
        ratio=np.median(seconds) / article[0],
        accuracy=np.median(accuracies),
        article_accuracy=article[1],
        seconds=np.median(seconds),
        article_seconds=article[0],
    )


def _in_fresh_process(name: str, function: Callable[[int], Result], argument: int) -> Result:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_load) as process:
        seconds, accuracy = process.submit(function, argument).result()
    report.progress(f"{name}: {seconds:.1f} s, {accuracy:.2%}")
    return seconds, accuracy


def _load() -> None:
    from core.model import keras_model

    keras_model.warm_up()
    datasets.load()


def _fast_99(seed: int) -> Result:
    from core.training import loop

    recipe = presets.FAST_99.experiment
    experiment = replaced(recipe, training=replaced(recipe.training, seed=seed))
    dataset = datasets.load()
    started = time.perf_counter()
    network, _ = loop.train(experiment, dataset, on_event=lambda event: None)
    return time.perf_counter() - started, _test_accuracy(network, dataset.x_test[..., None], dataset.y_test)


def _article(epochs: int) -> Result:
    import keras

    dataset = datasets.load()
    x_train, x_test = (x[..., None].astype(np.float32) / 255 for x in (dataset.x_train, dataset.x_test))
    keras.utils.set_random_seed(0)
    started = time.perf_counter()
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(28, kernel_size=(3, 3)),
            keras.layers.MaxPooling2D(pool_size=(2, 2)),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    network.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    network.fit(x_train, dataset.y_train, batch_size=32, epochs=epochs, verbose=0)
    return time.perf_counter() - started, _test_accuracy(network, x_test, dataset.y_test)


def _test_accuracy(network, x_test: np.ndarray, y_test: np.ndarray) -> float:
    probabilities = network.predict(x_test, batch_size=500, verbose=0)
    return float(np.mean(probabilities.argmax(axis=1) == y_test))


if __name__ == "__main__":
    limit.run(main, minutes=120)
