"""Questions about a network and one digit: its way through the layers, attribution, and adversarial changes.

Imports TensorFlow when first used: only worker processes may have these questions work.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from core.data import datasets, splits
from core.errors import NotExplainable
from core.evaluation import metrics
from core.explain import adversarial, arithmetic, attribution
from core.explain.arithmetic import Form, Layer
from core.model import ledger
from core.runs import loaded
from core.runs.arrays import Array
from core.runs.network import Network
from core.runs.question import Question, Tell, image_of
from core.runs.run import Run

MOST_NETWORKS = 4
MOST_MAPS, MOST_UNITS, MOST_CHANNELS = 36, 144, 4  # of a layer that are shown
MOST_AT_ONCE = 128  # images that gradients are taken of
MOST_HELD_OUT = 2000  # that the time machine's confusion matrix counts

PerfectDigits = tuple[Array, Array]
_READING = threading.Lock()
_VISITED = loaded.TravellingNetwork()


@dataclass(frozen=True)
class Forgotten:
    """Maps (28, 28) float32 by method of a network of which `layers` have forgotten what they learned; one of `levels`."""

    layers: tuple[str, ...]
    levels: int
    maps: dict[str, Array]


@dataclass(frozen=True)
class Tour:
    """A digit's way through a network.

    Attributes:
        layers: by name and in order, without their weights.
        outputs: what each gives out, (h, w, c) or (n,) float32; of many maps or units the first.
        kernels: of the convolutions, by name, (filters, kh, kw, c) float32; of many filters or channels the first.
        probabilities: (10,) float32.
    """

    layers: dict[str, Layer]
    outputs: dict[str, np.ndarray]
    kernels: dict[str, np.ndarray]
    probabilities: np.ndarray


@dataclass(frozen=True)
class Moment:
    """A network at one time of its training.

    Attributes:
        probabilities: (10,) float32, of the digit asked about.
        confusion: (10, 10) integers, counted over held-out images; None without any.
        kernels, maps: as in `progress.Snapshot`.
    """

    probabilities: np.ndarray
    confusion: np.ndarray | None
    kernels: np.ndarray
    maps: dict[str, np.ndarray]


@dataclass(frozen=True)
class AboutDigit(Question):
    """A question about a network and a digit, (28, 28) uint8 as bytes."""

    network: Network
    pixels: bytes

    @property
    def image(self) -> np.ndarray:
        """Digit that is asked about, (28, 28) uint8."""
        return image_of(self.pixels)

    @property
    def _name(self) -> str:
        return hashlib.sha256(self.pixels).hexdigest()


@dataclass(frozen=True)
class FollowDigit(AboutDigit):
    """Ask for every layer's output for a digit."""

    def work(self, tell: Tell) -> Tour:
        """Return its way through the network."""
        _, layers = _inspected(self.network)
        answers = _outputs(self.network, self.pixels)
        kernels = {name: layer.weights["kernel"] for name, layer in layers.items() if layer.form is Form.WINDOW}
        return Tour(
            layers={name: replace(layer, weights={}) for name, layer in layers.items()},
            outputs={
                name: values[..., :MOST_MAPS] if values.ndim == 3 else values[:MOST_UNITS]
                for name, values in answers.items()
            },
            kernels={
                name: np.ascontiguousarray(np.moveaxis(kernel[:, :, :MOST_CHANNELS, :MOST_MAPS], 3, 0))
                for name, kernel in kernels.items()
            },
            probabilities=answers[next(reversed(layers))],
        )


@dataclass(frozen=True)
class WorkOut(AboutDigit):
    """Ask for the calculation of one number of a network."""

    layer: str
    place: tuple[int, ...]

    def work(self, tell: Tell) -> arithmetic.Unit:
        """Return the number with what it is made of.

        Raises:
            NotExplainable: if there is no such number.
        """
        _, layers = _inspected(self.network)
        layer = layers.get(self.layer)
        if (
            layer is None
            or len(self.place) != len(layer.shape)
            or not all(0 <= at < side for at, side in zip(self.place, layer.shape, strict=True))
        ):
            raise NotExplainable(
                f"This network has no number at {self.place} of a layer {self.layer!r}. Choose another."
            )
        answers = _outputs(self.network, self.pixels)
        before = [layers[source] for source in layer.inputs]
        is_flattened = len(before) == 1 and before[0].form is Form.FLAT
        return arithmetic.unit(
            layer,
            tuple(answers[source] for source in layer.inputs),
            answers[self.layer],
            self.place,
            flattened=layers[before[0].inputs[0]].shape if is_flattened else None,
        )


class KeptBesideRun(Question):
    """A question about a network, whose answer is kept beside its run.

    Subclasses are dataclasses with the `network`; they give the `kind` of the answer, the `wording` under which it is
    kept, which no other question shares, and how to `find` it.

    Raises, when it works:
        NotNumbers: if the network's weights aren't numbers any more.
    """

    network: Network
    kind: ClassVar[Any]

    @property
    def wording(self) -> str:
        """Question in words, by which its answer is found again."""
        raise NotImplementedError

    def find(self) -> Any:
        """Return the answer, found anew."""
        raise NotImplementedError

    def kept(self) -> Any | None:
        return self.network.answer(self.wording, self.kind)

    def work(self, tell: Tell) -> Any:
        return loaded.found(self.network).answered(self.wording, self.kind, self.find)


@dataclass(frozen=True)
class Explain(KeptBesideRun, AboutDigit):
    """Ask for the attribution of a network's score for `digit`."""

    kind: ClassVar[Any] = attribution.Explanation
    digit: int

    @property
    def wording(self) -> str:
        return f"explanation of {self.digit} in {self._name}"

    def find(self) -> attribution.Explanation:
        with _borrowed(self.network) as reader:
            return attribution.explain(reader, _ink(self.image), self.digit)


@dataclass(frozen=True)
class ExplainRandomised(KeptBesideRun, AboutDigit):
    """Ask for the maps of `Explain` once some layers have forgotten what they learned.

    Attributes:
        level: 0 for the last layer alone; one more, more layers.
    """

    kind: ClassVar[Any] = Forgotten
    digit: int
    level: int

    @property
    def wording(self) -> str:
        how = "" if self.network.run.experiment().fine_tuning is None else " what two trainings taught them"
        return f"{self.digit} in {self._name} when layers up to level {self.level} have forgotten{how}"

    def find(self) -> Forgotten:
        forgotten = attribution.levels(self.network.weights())
        with _borrowed(self.network, forgotten[self.level]) as reader:
            maps, _ = attribution.maps(reader, _ink(self.image), self.digit)
        return Forgotten(tuple(forgotten[self.level]), len(forgotten), maps)


@dataclass(frozen=True)
class FindSmallestChange(KeptBesideRun, AboutDigit):
    """Ask for the smallest change of a digit that makes a network predict `target`."""

    kind: ClassVar[Any] = adversarial.Change
    target: int
    norm: adversarial.Norm

    @property
    def wording(self) -> str:
        return f"{self.norm} change of {self._name} towards {self.target}"

    def find(self) -> adversarial.Change:
        with _borrowed(self.network) as reader:
            return adversarial.smallest_change(reader, self.image, self.target, self.norm)


@dataclass(frozen=True)
class MaximiseDigits(KeptBesideRun):
    """Ask what a network takes for the best picture of each digit; see `adversarial.perfect_digits`."""

    kind: ClassVar[Any] = PerfectDigits
    network: Network

    @property
    def wording(self) -> str:
        return "perfect digits"

    def find(self) -> PerfectDigits:
        """Return the pictures, (10, 28, 28) float32 ink, and the network's probabilities for them, (10, 10) float32."""
        with _borrowed(self.network) as reader:
            return adversarial.perfect_digits(reader)


@dataclass(frozen=True)
class VisitMoment(AboutDigit):
    """Ask what the time machine shows of a network."""

    def work(self, tell: Tell) -> Moment:
        """Return its answers and its inside.

        Raises:
            RunDamaged: if the checkpoint isn't there or isn't whole.
        """
        from core.explain import inspection  # TensorFlow, which workers alone load

        dataset, run = datasets.load(), loaded.found(self.network).run
        held_out, confusion = splits.held_out_images(run, dataset.y_train)[:MOST_HELD_OUT], None
        with _VISITED.lent(run) as after:
            model = after(self.network.step)
            inspector = inspection.Inspector(model)
            if len(held_out):
                answers = loaded.answers(model, loaded.batch_size(self.network), dataset.x_train[held_out])
                confusion = metrics.confusion_matrix(dataset.y_train[held_out], answers.argmax(axis=1))
            return Moment(
                probabilities=model.predict_on_batch(self.image[None, ..., None])[0],
                confusion=confusion,
                kernels=inspector.kernels(),
                maps=inspector.feature_maps(self.image),
            )


def _ink(image: np.ndarray) -> np.ndarray:
    return (image / 255).astype(np.float32)


@contextmanager
def _borrowed(network: Network, forgotten: Sequence[str] = ()) -> Iterator[attribution.Reader]:
    """Lend the network, with the initial weights in the `forgotten` layers, to one caller at a time."""
    from core.model import keras_model  # TensorFlow, which workers alone load

    with _READING:
        weights, lent = loaded.found(network).finite_weights(), _lendable(network.run)
        keras_model.set_variables(lent.model, attribution.randomised(weights, lent.initial, forgotten))
        yield lent.reader


@dataclass(frozen=True)
class _Lendable:
    model: Any
    reader: attribution.Reader
    initial: dict[str, np.ndarray]


@lru_cache(maxsize=2)
def _lendable(run: Run) -> _Lendable:
    """Return the one network per run that takes the weights of all its moments, so that its gradients are compiled once."""
    from core.explain import inspection  # TensorFlow, which workers alone load
    from core.model import keras_model  # TensorFlow, which workers alone load

    experiment = run.experiment()
    model = keras_model.build(experiment)
    # An older run may have begun with other weights than its seed gives today. A fine-tuning begins with weights that another
    # run learned, and these are not untrained.
    is_of_random = 0 in run.steps() and experiment.fine_tuning is None
    initial = run.weights(0) if is_of_random else keras_model.variables(model)[0]
    batch = min(MOST_AT_ONCE, ledger.read(experiment.layers).largest_batch)
    return _Lendable(model, inspection.Reader(model, batch), initial)


@lru_cache(maxsize=MOST_NETWORKS)
def _inspected(network: Network) -> tuple[Any, dict[str, Layer]]:
    """Return an inspector of the network, and what its layers do."""
    from core.explain import inspection  # TensorFlow, which workers alone load

    model = loaded.keras_network(network)
    return inspection.Inspector(model), inspection.layers(model)


@lru_cache(maxsize=4)
def _outputs(network: Network, pixels: bytes) -> dict[str, np.ndarray]:
    """Return what each layer gives out for a digit, by its name."""
    inspector, _ = _inspected(network)
    return inspector.answers(image_of(pixels))
