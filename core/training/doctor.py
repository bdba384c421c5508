"""The training doctor: what is wrong with a training, as its curves show, and what to try next.

A rule looks at one thing and knows nothing of screens. It reports only what the figures show clearly: no finding means
that nothing was found, not that all is well. The thresholds were set on the trainings in
`tests/core/training/histories`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np

from core.errors import SpecError
from core.model import ledger
from core.model.specs import (
    CLASSES,
    SGD,
    Augmentation,
    Constant,
    Cosine,
    Dropout,
    Experiment,
    LayerSpec,
    Training,
    replaced,
)
from core.runs.progress import EpochEnded, Progress, State
from core.training import range_test

MOST_FINDINGS = 3
LOSS_OF_A_GUESS = math.log(CLASSES)

LEAST_BATCHES = 200  # with fewer a curve shows little; a good training is past its steepest part by then
MOST_RECENT_BATCHES = 500  # that are averaged to the level of a curve; a quarter of all if that is less

EXPLODED = 2.0  # times the loss of a guess: no network is as bad by chance
GUESS_LOSS_MARGIN = 0.1  # nats below ln 10; to know the frequency of the digits gains 0.001
GUESS_ACCURACY = 0.2  # twice what guessing gets right
POOR_ACCURACY = 0.8  # a single linear layer is beyond it after 200 batches
FAIR_ACCURACY = 0.9  # a single linear layer gets there
STILL_FALLING = 0.01  # share of the loss lost from one quarter to the next

# The variance of a batch's loss times the batch size, per loss. Single losses are spread like counts, so it hardly depends on
# either: 1 to 2.5 while training goes well, 5 to 10 where the steps are too long.
RESTLESS = 4.0

DEAD_SHARE = 0.5  # up to 0.4 is usual: units that answer to rare patterns
LEAST_IMAGES_FOR_DEAD = 32  # in a smaller batch a living unit is often silent

COLLAPSED_SHARE = 0.8  # of the images, read as one of two digits; 0.2 is right
LEAST_IMAGES_OF_CLASS = 10  # images that a digit must have before its absence means something

LARGE_BATCH = 512
USUAL_BATCH = 128
MANY_STEPS = 120  # an epoch of 60,000 images by 512 has less

OVERFITTING_GAP = 0.01  # of accuracy, beyond twice its standard error on the held-out images
OVERFITTING_RISE = 1.05  # of the validation loss since its best
OVERFITTING_EPOCHS = 2  # since the best
USUAL_DROPOUT = 0.5  # Srivastava et al. 2014, Dropout, JMLR 15: near the best for many networks

PLATEAU_EPOCHS = 3  # without a better validation loss

MANY_SIGMOIDS = 3  # each passes at most a quarter of the gradient on. Source: Glorot & Bengio 2010, AISTATS


@dataclass(frozen=True)
class Finding:
    """A problem of a training, the figures that show it and, if there is something to try, a button's label and the
    changed experiment.
    """

    title: str
    reason: str
    try_this: str | None = None
    experiment: Experiment | None = None


def findings(experiment: Experiment, progress: Progress) -> tuple[Finding, ...]:
    """Return what is wrong with a training so far, the worst first: at most three findings, no two with the same
    change.
    """
    found: list[Finding] = []
    for rule in RULES:
        finding = rule(experiment, progress)
        if finding is not None and experiment.fine_tuning is not None:  # another recipe would begin from random weights
            finding = Finding(finding.title, finding.reason)
        if finding is None or any(finding.experiment and finding.experiment == other.experiment for other in found):
            continue
        found.append(finding)
    return tuple(found[:MOST_FINDINGS])


# --- rules -------------------------------------------------------------------------------------------------------------


def exploded(experiment: Experiment, progress: Progress) -> Finding | None:
    """Find a loss that is NaN or infinite, or far above that of a guess and of the start."""
    losses = _last(progress.loss, 5)
    first = progress.loss[0] if len(progress.loss) else LOSS_OF_A_GUESS
    rate = _learning_rate(experiment, progress)
    if _is_not_finite(progress):
        reached = f"; the last that was one is {losses[-1]:.3g}" if len(losses) else ""
        reason = (
            f"The loss is no number any more{reached}. At a learning rate of {rate:g} every step overshoots the last."
        )
    elif len(losses) and losses.mean() > EXPLODED * max(LOSS_OF_A_GUESS, first):
        reason = (
            f"The loss is {losses.mean():.3g} over the last {len(losses)} batches; it began at {first:.2f}, and pure guessing "
            f"has {LOSS_OF_A_GUESS:.2f}. At a learning rate of {rate:g} the steps are too long."
        )
    else:
        return None
    return _advised("The loss exploded", reason, _with_rate(experiment, rate / 10))


def guesses(experiment: Experiment, progress: Progress) -> Finding | None:
    """Find a network that does no better than chance after many batches."""
    losses, accuracies = _recent(progress, progress.loss), _recent(progress, progress.accuracy)
    if not len(losses) or not len(accuracies):
        return None
    if losses.mean() < LOSS_OF_A_GUESS - GUESS_LOSS_MARGIN or accuracies.mean() > GUESS_ACCURACY:
        return None
    reason = (
        f"After {len(progress.loss):,} batches the loss is {losses.mean():.2f} and {accuracies.mean():.0%} are right; pure guessing "
        f"has {LOSS_OF_A_GUESS:.2f} and 10%."
    )
    rate = _learning_rate(experiment, progress)
    if _has_zero_weights(experiment):
        return _advised(
            "Nothing is learned",
            f"{reason} With weights that begin at zero all units of a layer stay alike, or no gradient reaches them.",
            _with_random_weights(experiment),
        )
    if rate > _usual_rate(experiment.training):
        reason += f" A learning rate of {rate:g} is high for {experiment.training.optimizer.kind}: units may have died early on."
        return _advised("Nothing is learned", reason, _with_rate(experiment, rate / 10))
    return _advised("Nothing is learned", reason + _why_slow(experiment, rate), _faster(experiment, rate))


def collapsed(experiment: Experiment, progress: Progress) -> Finding | None:
    """Find a network that predicts one of two digits for almost everything held out, or never predicts some digits.

    At a low learning rate that is only the beginning: the digits come one after another.
    """
    row, rate = _last_row(progress), _learning_rate(experiment, progress)
    if row is None or row.confusion is None or len(row.confusion) != CLASSES**2 or row.accuracy >= POOR_ACCURACY:
        return None
    if len(progress.loss) < LEAST_BATCHES or rate < _usual_rate(experiment.training):
        return None
    if guesses(experiment, progress) or learns_slowly(experiment, progress):
        return None
    matrix = np.array(row.confusion, np.float64).reshape(CLASSES, CLASSES)
    read, shown = matrix.sum(axis=0), matrix.sum(axis=1)
    never = np.flatnonzero((read == 0) & (shown >= LEAST_IMAGES_OF_CLASS))
    top = np.sort(np.argsort(-read, kind="stable")[:2])
    if read.sum() >= LEAST_IMAGES_OF_CLASS * CLASSES and read[top].sum() >= COLLAPSED_SHARE * read.sum():
        title = "Almost all is read as two digits"
        reason = f"After epoch {row.epoch}, {read[top].sum() / read.sum():.0%} of the held-out images are read as {top[0]} or {top[1]}."
    elif len(never):
        title = "Some digits are never read"
        reason = f"After epoch {row.epoch}, of {read.sum():,.0f} held-out images none is read as {_listed(never)}."
    else:
        return None
    reason += f" Long steps, at a learning rate of {rate:g}, can shut an output off for good."
    return _advised(title, reason, _with_rate(experiment, rate / 10))


def dead_units(experiment: Experiment, progress: Progress) -> Finding | None:
    """Find a layer with ReLUs most of whose units are always zero. Source: Maas et al. 2013, who use leaky ReLUs
    instead.
    """
    snapshot = progress.snapshot
    if snapshot is None or _has_zero_weights(experiment):
        return None
    if _images_at(experiment, progress, snapshot.step) < LEAST_IMAGES_FOR_DEAD:
        return None
    dead = {name: share for name, share in snapshot.dead.items() if share > DEAD_SHARE}
    if not dead:
        return None
    worst = max(dead, key=dead.__getitem__)
    reason = (
        f"{dead[worst]:.0%} of the units of {worst} are zero for every image of a batch. Where a ReLU is zero no gradient "
        "passes, so a unit that is always zero learns no more; a leaky ReLU lets a little pass."
    )
    rate = _learning_rate(experiment, progress)
    if rate > _usual_rate(experiment.training):
        reason += (
            f" Long steps put units there: {rate:g} is a high learning rate for {experiment.training.optimizer.kind}."
        )
    return _advised("Many units are dead", reason, _with_leaky_relus(experiment, dead))


def rate_is_too_high(experiment: Experiment, progress: Progress) -> Finding | None:
    """Find a loss that varies between batches far more than by chance, or that doesn't fall though much is left to
    learn.
    """
    losses, before = _recent(progress, progress.loss), _recent(progress, progress.loss, back=1)
    rate = _learning_rate(experiment, progress)
    if len(losses) < 2 or not len(before) or rate <= _usual_rate(experiment.training):
        return None
    is_restless = _dispersion(losses, experiment.training.batch_size) > RESTLESS
    if is_restless and _is_below(progress, FAIR_ACCURACY):
        reason = (
            f"Over the last {len(losses)} batches the loss jumped between {losses.min():.2f} and {losses.max():.2f} about its mean "
            f"of {losses.mean():.2f}, more than the difference between images explains."
        )
    elif not _is_falling(losses, before) and _is_below(progress, POOR_ACCURACY):
        reason = (
            f"The loss falls no more: its mean was {before.mean():.2f}, then {losses.mean():.2f} over the last {len(losses)} batches, "
            f"of which only {_recent(progress, progress.accuracy).mean():.0%} are right."
        )
    else:
        return None
    reason += f" A learning rate of {rate:g} is high for {experiment.training.optimizer.kind}."
    return _advised("The learning rate is too high", reason, _with_rate(experiment, rate / 10))


def batch_is_too_large(experiment: Experiment, progress: Progress) -> Finding | None:
    """Find a training with few steps that are too short. Source: Goyal et al. 2017, arXiv:1706.02677: scale the rate as
    well."""
    training, row = experiment.training, _last_row(progress)
    if row is None or training.batch_size < LARGE_BATCH or progress.steps_per_epoch > MANY_STEPS:
        return None
    if max(row.accuracy, row.val_accuracy or 0.0) >= FAIR_ACCURACY or guesses(experiment, progress):
        return None
    rate = _learning_rate(experiment, progress)
    reason = (
        f"An epoch of batches of {training.batch_size} has only {progress.steps_per_epoch} steps; after {_epochs(row.epoch)} the "
        f"loss is {row.loss:.2f}, with {row.accuracy:.0%} right."
    )
    if rate > _usual_rate(training):
        smaller = _changed(experiment, training=_trained(training, batch_size=USUAL_BATCH))
        return _advised("The batches are too large", reason, (f"Batch size {USUAL_BATCH}", smaller))
    reason += f" A mean over {training.batch_size} images is precise enough for longer steps than {rate:g}."
    scaled = _with_rate(experiment, rate * training.batch_size / USUAL_BATCH)
    return _advised("The batches are too large for this learning rate", reason, scaled)


def learns_slowly(experiment: Experiment, progress: Progress) -> Finding | None:
    """Find a loss that falls slowly though much is left to learn, with a visible cause: short steps, or sigmoids."""
    losses, before = _recent(progress, progress.loss), _recent(progress, progress.loss, back=1)
    rate, usual = _learning_rate(experiment, progress), _usual_rate(experiment.training)
    if not len(losses) or not len(before) or not progress.history or not _is_below(progress, POOR_ACCURACY):
        return None
    if rate > usual or (rate == usual and not _has_many_sigmoids(experiment)) or not _is_falling(losses, before):
        return None
    if guesses(experiment, progress) or batch_is_too_large(experiment, progress):
        return None
    accuracy = _recent(progress, progress.accuracy).mean()
    reason = (
        f"After {len(progress.loss):,} batches only {accuracy:.0%} are right. The loss still falls, from {before.mean():.2f} to "
        f"{losses.mean():.2f} over the last {2 * len(losses)} batches, but slowly."
    )
    return _advised("Learning is slow", reason + _why_slow(experiment, rate), _faster(experiment, rate))


def overfits(experiment: Experiment, progress: Progress) -> Finding | None:
    """Find a network that gets better on the training images and worse on those held out."""
    rows = _validated(progress)
    if not rows:
        return None
    best, last = min(rows, key=lambda row: row.val_loss), rows[-1]
    held_out = max(round(experiment.training.train_size * experiment.training.validation_split), 1)
    error = math.sqrt(max(last.val_accuracy * (1 - last.val_accuracy), 0.0) / held_out)
    if last.epoch - best.epoch < OVERFITTING_EPOCHS or last.val_loss < OVERFITTING_RISE * best.val_loss:
        return None
    if (
        last.loss >= best.loss
        or last.accuracy < FAIR_ACCURACY
        or last.accuracy - last.val_accuracy < OVERFITTING_GAP + 2 * error
    ):
        return None
    reason = (
        f"Since epoch {best.epoch} the validation loss has risen from {best.val_loss:.3g} to {last.val_loss:.3g}, while the training "
        f"loss fell from {best.loss:.3g} to {last.loss:.3g}. {last.accuracy:.1%} of the training images are right, but "
        f"{last.val_accuracy:.1%} of those held out."
    )
    return _advised("The network overfits", reason, _against_overfitting(experiment))


def stands_still(experiment: Experiment, progress: Progress) -> Finding | None:
    """Find a validation loss that gets no better at a constant learning rate."""
    rows = _validated(progress)
    if not rows or not isinstance(experiment.training.schedule, Constant) or overfits(experiment, progress):
        return None
    best, last = min(rows, key=lambda row: row.val_loss), rows[-1]
    waited = last.epoch - best.epoch
    rates = {row.learning_rate for row in rows if row.epoch >= best.epoch}
    if waited < PLATEAU_EPOCHS or len(rates) > 1 or last.val_accuracy < POOR_ACCURACY:
        return None
    reason = (
        f"The validation loss was best after {_epochs(best.epoch)}, at {best.val_loss:.3g}; {waited} epochs later it is "
        f"{last.val_loss:.3g}. Near a minimum, steps of the same length only go round it; a falling rate goes further in."
    )
    change = _changed(experiment, training=_trained(experiment.training, schedule=Cosine()))
    return _advised("No more progress", reason, ("Cosine schedule", change))


Rule = Callable[[Experiment, Progress], Finding | None]
RULES: tuple[Rule, ...] = (
    exploded,
    guesses,
    collapsed,
    rate_is_too_high,
    dead_units,
    batch_is_too_large,
    learns_slowly,
    overfits,
    stands_still,
)


# --- what to try -------------------------------------------------------------------------------------------------------

Change = tuple[str, Experiment | None]
"""A button's label, and the experiment it leads to where that is possible."""


def _advised(title: str, reason: str, change: Change | None) -> Finding:
    label, experiment = change or (None, None)
    return Finding(title, reason) if experiment is None else Finding(title, reason, label, experiment)


def _changed(experiment: Experiment, **changes: object) -> Experiment | None:
    """Return the experiment with some fields changed; None if that can't be trained, or is the same."""
    try:
        changed = replaced(experiment, **changes)
        ledger.check(changed)
    except SpecError:
        return None
    return None if changed == experiment else changed


def _trained(training: Training, **changes: object) -> dict[str, object]:
    """Return the fields of a training, some of them changed, not yet validated."""
    return {**dict(training), **changes}


def _with_rate(experiment: Experiment, rate: float) -> Change | None:
    rate = float(f"{rate:.2g}")
    if not range_test.LOWEST <= rate <= range_test.HIGHEST:
        return None
    return f"Learning rate {rate:g}", _changed(experiment, training=_trained(experiment.training, learning_rate=rate))


def _faster(experiment: Experiment, rate: float) -> Change | None:
    """Return a change that makes learning faster: activations that pass the gradient on, or longer steps."""
    if _has_many_sigmoids(experiment):
        return "ReLU for sigmoid", _with_layers(experiment, _sigmoids(experiment), activation="relu")
    return _with_rate(experiment, rate * 10)


def _why_slow(experiment: Experiment, rate: float) -> str:
    if _has_many_sigmoids(experiment):
        return (
            f" Each of the {len(_sigmoids(experiment))} sigmoid layers lets at most a quarter of the gradient through."
        )
    return f" Steps of {rate:g} may be too short."


def _with_random_weights(experiment: Experiment) -> Change:
    layers = tuple(
        replaced(
            layer,
            **{name: "glorot_uniform" for name, value in layer if name.endswith("initializer") and value == "zeros"},
        )
        for layer in experiment.layers
    )
    return "Random first weights", _changed(experiment, layers=layers)


def _with_leaky_relus(experiment: Experiment, names: dict[str, float]) -> Change:
    """Return the change to leaky ReLUs in the layers with these Keras names: '03_dense' is the third."""
    numbers = {int(name[:2]) - 1 for name in names if name[:2].isdecimal()}
    indices = [i for i in numbers if 0 <= i < len(experiment.layers) and _activation(experiment.layers[i]) == "relu"]
    return "Leaky ReLU", _with_layers(experiment, indices, activation="leaky_relu")


def _with_layers(experiment: Experiment, indices: list[int], **changes: object) -> Experiment | None:
    layers = tuple(replaced(layer, **changes) if i in indices else layer for i, layer in enumerate(experiment.layers))
    return _changed(experiment, layers=layers)


def _against_overfitting(experiment: Experiment) -> Change | None:
    """Return the first of these that changes anything: dropout before the output, moved images, early stopping."""
    last = experiment.layers[-1] if experiment.layers else None
    before = experiment.layers[:-1] if isinstance(last, Dropout) else experiment.layers
    dropout = Dropout(rate=max(USUAL_DROPOUT, last.rate if isinstance(last, Dropout) else 0.0))
    moved = experiment.training.augmentation
    if not moved.is_active:
        moved = Augmentation(shift=2.0, rotation=10.0)
    patience = experiment.training.patience or OVERFITTING_EPOCHS
    changes = (
        (f"Dropout {dropout.rate:g} before the output", {"layers": (*before, dropout)}),
        ("Shift and rotate the images", {"training": _trained(experiment.training, augmentation=moved)}),
        (
            f"Stop after {_epochs(patience)} without gain",
            {"training": _trained(experiment.training, patience=patience)},
        ),
    )
    possible = ((label, _changed(experiment, **change)) for label, change in changes)
    return next((change for change in possible if change[1] is not None), None)


# --- reading the figures -----------------------------------------------------------------------------------------------


def _last(values: Sequence[float], count: int) -> np.ndarray:
    """Return the last `count` values of a per-batch curve, (n,) float64, without NaN and infinity."""
    last = np.array(values[-count:], np.float64)
    return last[np.isfinite(last)]


def _recent(progress: Progress, values: Sequence[float], back: int = 0) -> np.ndarray:
    """Return the last quarter of a per-batch curve, or the one so many quarters `back`; empty before there is enough of
    it.

    An epoch's last batch, often smaller and so noisier, is left out.
    """
    count = min(len(values) // 4, MOST_RECENT_BATCHES)
    if len(values) < LEAST_BATCHES:
        return np.zeros(0)
    end = len(values) - back * count
    recent = np.array(values[end - count : end], np.float64)
    place = np.arange(end - count, end) % max(progress.steps_per_epoch, 1)
    return recent[np.isfinite(recent) & (place != progress.steps_per_epoch - 1)]


def _dispersion(losses: np.ndarray, batch_size: int) -> float:
    """Return the variance of single images' losses over the mean loss.

    It is estimated from the difference between each batch and the next, so that a trend doesn't count.
    """
    mean = losses.mean()
    return float(np.square(np.diff(losses)).mean() / 2 * batch_size / mean) if mean > 0 else 0.0


def _is_falling(losses: np.ndarray, before: np.ndarray) -> bool:
    return losses.mean() < (1 - STILL_FALLING) * before.mean()


def _is_not_finite(progress: Progress) -> bool:
    if progress.state is State.FAILED and progress.message.startswith(
        ("The loss became", "The validation loss became")
    ):
        return True
    return not all(map(math.isfinite, (*progress.loss[:1], *progress.loss[-5:])))


def _is_below(progress: Progress, accuracy: float) -> bool:
    """Return whether the accuracy is below this one: of the last batches, and of the held-out images if there are any."""
    recent, row = _recent(progress, progress.accuracy), _last_row(progress)
    held_out = row.val_accuracy if row is not None else None
    return len(recent) > 0 and recent.mean() < accuracy and not (held_out is not None and held_out >= accuracy)


def _last_row(progress: Progress) -> EpochEnded | None:
    """Return the last epoch's row, if its loss and accuracy are finite."""
    row = progress.history[-1] if progress.history else None
    return row if row is not None and math.isfinite(row.loss) and math.isfinite(row.accuracy) else None


def _validated(progress: Progress) -> list[_Validated]:
    """Return the epochs' rows that have a validation, all values being finite."""
    return [row for row in progress.history if _is_validated(row)]


@dataclass(frozen=True)
class _Validated(EpochEnded):
    """An epoch's row that has a validation."""

    val_loss: float
    val_accuracy: float


def _is_validated(row: EpochEnded) -> TypeGuard[_Validated]:
    return (
        row.val_loss is not None
        and row.val_accuracy is not None
        and all(map(math.isfinite, (row.loss, row.accuracy, row.val_loss, row.val_accuracy)))
    )


def _learning_rate(experiment: Experiment, progress: Progress) -> float:
    """Return the highest learning rate in force: the recipe's, or the last one that it was changed to."""
    changed = [
        change.value for change in progress.changes if change.name == "learning_rate" and 0 < change.value < math.inf
    ]
    return changed[-1] if changed else experiment.training.learning_rate


def _usual_rate(training: Training) -> float:
    """Return a usual learning rate: Keras' default for the adaptive optimizers; for SGD 0.01 at a momentum of 0.9.

    With SGD steps add up to 1 / (1 - momentum) times their length.
    """
    return round(0.1 * (1 - training.optimizer.momentum), 6) if isinstance(training.optimizer, SGD) else 0.001


def _images_at(experiment: Experiment, progress: Progress, step: int) -> int:
    """Return how many images there were in batch number `step`."""
    training, images = experiment.training, experiment.images_per_epoch
    if progress.steps_per_epoch < 1 or step % progress.steps_per_epoch:
        return min(training.batch_size, images)
    return images - (progress.steps_per_epoch - 1) * training.batch_size


def _has_zero_weights(experiment: Experiment) -> bool:
    return any(value == "zeros" for layer in experiment.layers for name, value in layer if name.endswith("initializer"))


def _has_many_sigmoids(experiment: Experiment) -> bool:
    return len(_sigmoids(experiment)) >= MANY_SIGMOIDS


def _sigmoids(experiment: Experiment) -> list[int]:
    return [i for i, layer in enumerate(experiment.layers) if _activation(layer) == "sigmoid"]


def _activation(layer: LayerSpec) -> str | None:
    return getattr(layer, "activation", None)


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count} epochs"


def _listed(digits: np.ndarray) -> str:
    *most, last = map(str, digits)
    return f"{', '.join(most)} or {last}" if most else last
