"""The disk space that runs may take in all, and which runs are removed to make room for others."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import fsspec

from core.errors import RunDamaged, RunError
from core.runs import registry
from core.runs.run import Run

SHARE = 0.5  # of the room that runs take and that is free beside them, where DIGITLAB_RUNS_GB says nothing
ABANDONED_SECONDS = (
    7 * 86_400.0
)  # since the last change of a run whose folder says it is unfinished and that nobody trains

logger = logging.getLogger("digitlab.allowance")


@dataclass(frozen=True)
class Allowance:
    """The bytes that all runs take and may take; `most` is None if there is no bound."""

    used: int
    most: int | None

    @property
    def is_exceeded(self) -> bool:
        """True if the runs take more than they may."""
        return self.most is not None and self.used > self.most


def keep_within(root: str, under_way: Collection[str] = ()) -> Allowance:
    """Delete the runs that nobody has opened for longest until the rest is within bounds, but none that came with the lab or is
    under way; on one's own machine (DIGITLAB_LOCAL=1) none at all.

    Args:
        under_way: ids of runs that train or wait for it.

    Returns: what is taken afterwards.
    """
    sizes = {run: run.folder.size() for run in registry.all_runs(root)}
    used = sum(sizes.values())
    most = _most(root, used)
    if most is None or used <= most or os.environ.get("DIGITLAB_LOCAL") == "1":
        return Allowance(used, most)
    for run in sorted(sizes, key=Run.last_opened):
        if used <= most:
            break
        if run.id not in under_way and _may_go(run):
            try:
                run.delete()
            except RunError:  # the log tells it; another run may be removed instead
                continue
            logger.info("run %s made room for others: %.1f MB", run.id, sizes[run] / 1e6)
            used -= sizes[run]
    return Allowance(used, most)


def _may_go(run: Run) -> bool:
    try:
        record = run.record()
    except RunDamaged:
        return True
    is_over = record.state.is_over or time.time() - run.last_opened() > ABANDONED_SECONDS
    return is_over and not record.is_shipped


def _most(root: str, used: int) -> int | None:
    """Return the bound in bytes; None if none is set and the runs are not on this machine's disk."""
    named = os.environ.get("DIGITLAB_RUNS_GB", "").strip()
    try:
        if named and float(named) > 0:
            return int(float(named) * 1e9)
    except (ValueError, OverflowError):
        pass
    if named:
        logger.warning("DIGITLAB_RUNS_GB: expected a number of gigabytes above 0, received %r", named)
    try:
        fs, path = fsspec.core.url_to_fs(root)
        return (
            int(SHARE * (used + shutil.disk_usage(path).free))
            if "file" in fs.protocol and Path(path).is_dir()
            else None
        )
    except (OSError, ValueError, ImportError):  # no place for runs, which is told where one is to be kept
        return None
