"""The moments at which a run's network is kept: after 0, 1, 2, 4, ... batches, at each epoch's end, and where it was
stopped.
"""

from __future__ import annotations

import re

from core.runs.folder import Folder
from core.runs.progress import Progress

MAX_CHECKPOINT_BYTES = 100_000_000  # of one run, the oldest thinned first; forty epochs of First CNN
_CHECKPOINT = re.compile(r"[0-9]{8,15}\.npz")
_OF_STEP = re.compile(r"[a-z]+/([0-9]{8,15})[-.].*")


def file_name(step: int) -> str:
    """Return the checkpoint's name in a run's folder."""
    return f"checkpoints/{step:08d}.npz"


def steps(folder: Folder) -> list[int]:
    """Return after how many batches there are checkpoints, in order."""
    return sorted(int(name[:-4]) for name in folder.names("checkpoints") if _CHECKPOINT.fullmatch(name))


def thin(folder: Folder, progress: Progress) -> None:
    """Remove the oldest checkpoints until the rest is within MAX_CHECKPOINT_BYTES, but never the untrained network, the best,
    the last whole epoch's or the last."""
    files = folder.files("checkpoints")
    sizes = {step: files.get(file_name(step).rpartition("/")[2], 0) for step in steps(folder)}
    kept = {0, max(sizes, default=0)}
    if (best := progress.best) is not None:
        kept |= {progress.step_of(best.epoch), progress.step_of(progress.history[-1].epoch)}
    too_much = sum(sizes.values()) - MAX_CHECKPOINT_BYTES
    for step, size in sizes.items():
        if too_much <= 0:
            return
        if step not in kept:
            folder.remove(file_name(step))
            too_much -= size


def forget_unfinished(folder: Folder, progress: Progress) -> None:
    """Remove the networks in the midst of an epoch, and what was found out about them, that lie beyond where it is: those
    batches are taken anew."""
    for name in folder.files():
        named = _OF_STEP.fullmatch(name)
        if named and (step := int(named[1])) > progress.step and step % progress.steps_per_epoch:
            folder.remove(name)
