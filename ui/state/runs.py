"""The runs that this visitor made or opened, the one in use, and the moment of each that is looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

from core import shipped
from core.errors import RunNotFound
from core.model import link as links
from core.runs import registry
from core.runs.network import Network
from core.runs.run import Run
from ui.state import session
from ui.state.session import part

_RUN_PARAMETER = "run"


@dataclass
class Runs:
    """The runs of this session, by their ids.

    Attributes:
        run_id: the one that was begun or opened last.
        url_run_id: the one that the address was last made to name.
        own_runs: those that were made or opened, the newest first.
        is_told_of_shipped: whether the visitor was told why there is no shipped one.
        chosen_steps: the number of batches after which a run's network is wanted; None for its best epoch's end.
        moments: the time machine's place, as a number of batches.
        open_tests: the networks that the test set was opened for.
    """

    run_id: str | None = None
    url_run_id: str | None = None
    own_runs: list[str] = field(default_factory=list)
    is_told_of_shipped: bool = False
    chosen_steps: dict[str, int | None] = field(default_factory=dict)
    moments: dict[str, int] = field(default_factory=dict)
    open_tests: set[Network] = field(default_factory=set)


def run_in_use() -> Run | None:
    """Return the run that Evaluate, Explain and Draw are about: the one this visitor chose, or else the shipped one."""
    return chosen_run() or shipped_run()


def shipped_run() -> Run | None:
    """Return the run that came with the lab, or None; a reason why it isn't among the runs is told once."""
    run, why_not = shipped.installed(registry.root())
    if why_not and not part(Runs).is_told_of_shipped:
        part(Runs).is_told_of_shipped = True
        session.say(why_not)
    return run


def chosen_run() -> Run | None:
    """Return the run that this visitor began or opened last."""
    runs = part(Runs)
    if runs.run_id is None:
        return None
    try:
        return find_run(runs.run_id)
    except RunNotFound as error:
        session.say(str(error))
        forget_run(runs.run_id)
        return None


def find_run(run_id: str) -> Run:
    """Return the run with this id; the shipped one is found wherever it could be put.

    Raises:
        RunNotFound: if there is none, or it can't be an id.
    """
    reference = shipped_run()
    return reference if reference is not None and reference.id == run_id else registry.find(run_id)


def use_run(run: Run) -> None:
    """Use a run, and put it on this session's list."""
    runs = part(Runs)
    runs.run_id = run.id
    if run.exists():  # to note it would bring back the folder of one that was deleted meanwhile
        run.note_opened()
    if run.id not in runs.own_runs:
        runs.own_runs.insert(0, run.id)


def forget_run(run_id: str) -> None:
    """Remove a run from this session's list; if it was in use, the newest that is left takes its place."""
    runs = part(Runs)
    runs.own_runs = [own for own in runs.own_runs if own != run_id]
    runs.run_id = next(iter(runs.own_runs), None) if runs.run_id == run_id else runs.run_id


def visible_runs() -> list[Run]:
    """Return the runs this session made or opened, and the one that is shipped; all on this machine in local mode."""
    reference = shipped_run()
    ids = (run.id for run in registry.all_runs()) if session.is_local() else part(Runs).own_runs
    own = [Run(run_id, registry.root()) for run_id in ids if reference is None or run_id != reference.id]
    return [run for run in [*own, reference] if run is not None and run.exists()]


def follow_url() -> None:
    """Open the run that the address names; keep the address naming the run in use."""
    runs, asked = part(Runs), session.parameter(_RUN_PARAMETER)
    if asked and asked != runs.url_run_id:
        try:
            use_run(find_run(links.run_id_of(asked)))
        except RunNotFound as error:
            session.say(str(error))
    if runs.run_id != asked:
        session.set_parameter(_RUN_PARAMETER, runs.run_id)
    runs.url_run_id = runs.run_id


def chosen_step(run_id: str) -> int | None:
    """Return the number of batches after which this visitor wants a run's network; None for its best epoch's end."""
    return part(Runs).chosen_steps.get(run_id)


def choose_step(run_id: str, step: int | None) -> None:
    """Choose the number of batches after which a run's network is used; None for its best epoch's end."""
    runs = part(Runs)
    runs.chosen_steps = {**runs.chosen_steps, run_id: step}


def moment(run_id: str, steps: list[int]) -> int:
    """Return the kept step that the time machine is at: the one nearest to the chosen step, or the last if none was
    chosen.
    """
    chosen = part(Runs).moments.get(run_id)
    return steps[-1] if chosen is None else min(steps, key=lambda step: abs(step - chosen))


def go_to_moment(run_id: str, step: int) -> None:
    """Move the time machine of a run to the network after so many batches."""
    part(Runs).moments[run_id] = step


def is_test_open(network: Network) -> bool:
    """Return whether this visitor opened the test set for a network."""
    return network in part(Runs).open_tests


def open_test(network: Network) -> None:
    """Open the test set for a network, which its run's folder keeps count of.

    Raises:
        RunError: if the run is gone, or its count can't be read or written.
    """
    if not is_test_open(network):
        registry.find(network.run.id, network.run.root).open_test(network.step)
        part(Runs).open_tests.add(network)
