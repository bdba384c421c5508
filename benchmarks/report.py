"""The output of a benchmark: a table for people, and one line of JSON for programs at the end."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np

from core.data import datasets


def demand_mnist() -> None:
    """End here where MNIST is out of reach: what is measured on its stand-in compares with nothing."""
    if datasets.load().is_stand_in:
        raise SystemExit("Benchmarks need MNIST: let DIGITLAB_MNIST name Keras' mnist.npz, or go online.")


def progress(message: str) -> None:
    """Say what is being measured, as it begins or ends."""
    print(message, flush=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their columns: texts to the left, numbers to the right with three digits that count."""
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    print(f"\n{title}")
    for row in [list(columns), ["-" * width for width in widths], *cells]:
        aligned = [
            text.ljust(width) if place == 0 else text.rjust(width) for place, (text, width) in _placed(row, widths)
        ]
        print("  " + "  ".join(aligned))
    print(flush=True)


def result(**figures: float) -> None:
    """Print the benchmark's figures as its last line: one flat JSON object."""
    print(json.dumps({name: round(float(value), 4) for name, value in figures.items()}), flush=True)


def percentiles(samples: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 95th percentile."""
    p50, p95 = np.percentile(samples, [50, 95])
    return float(p50), float(p95)


def _placed(row: Sequence[str], widths: Sequence[int]):
    return enumerate(zip(row, widths, strict=True))


def _text(value: object) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
