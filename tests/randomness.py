"""Threads that draw from the random numbers that everything in a process shares, without pause."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def drawing_random_numbers() -> Iterator[None]:
    """Meanwhile another thread draws from Python's, NumPy's and TensorFlow's global generators, as Dask's event loop does from the
    first."""
    import tensorflow as tf

    is_over = threading.Event()

    def draw() -> None:
        while not is_over.is_set():
            random.random()  # noqa: S311  (what is shared is the point)
            np.random.random()  # noqa: NPY002
            tf.random.uniform(())

    thread = threading.Thread(target=draw, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
