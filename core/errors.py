"""Errors that a user can correct, each with a message that is shown unchanged.

DigitLabError
├── SpecError          a network or training that can't be built as asked for
├── DataError          the data set is missing, broken or foreign
│   └── DownloadFailed it did not come from the web, or not whole
├── DrawingError       nothing to classify on the canvas, or a picture that can't be read
├── RunError           a run's folder
│   ├── RunNotFound    no such run, or an id that can't be one
│   ├── RunDamaged     half written, or not readable any more
│   ├── NotYours       another visitor's, whose link gives reading alone
│   └── StorageFull    there is no room, no right or no such place to write it
├── NotExplainable     a network or a digit that nothing can be told about
│   └── NotNumbers     the network's weights are NaN or infinite
├── TrainingError      training ended by itself
│   └── LossNotFinite  the loss became NaN or infinite
└── EngineError        where the work runs
    ├── EngineNotReady it is still starting; asking again a little later succeeds
    └── WorkerLost     the process that did the work is gone

Every message says what, expected, received, and what to do. Anything else that is raised is a defect and crashes loudly.
"""


class DigitLabError(Exception):
    """The root: whatever the interface shows as a message instead of a stack trace."""


class SpecError(DigitLabError):
    """A network or training that can't be built as asked for."""


class DataError(DigitLabError):
    """The data set is missing, broken or foreign. `line` is a line of NumPy that corrects the file; "" if there is
    none.
    """

    line = ""


class DownloadFailed(DataError):
    """A file did not come from the web, or not whole."""


class DrawingError(DigitLabError):
    """Nothing to classify, or a picture that can't be read."""


class RunError(DigitLabError):
    """A run's folder can't be used."""


class RunNotFound(RunError):
    """No run has this id, or it isn't an id at all."""


class RunDamaged(RunError):
    """The run's folder is half written or not readable any more."""


class NotYours(RunError):
    """The run was begun by another visitor: its link lets it be watched, not controlled."""


class StorageFull(RunError):
    """A run's folder can't be written: no room, no permission, or no such place."""


class NotExplainable(DigitLabError):
    """A network, or a layer of one, to which a method can't be applied."""


class NotNumbers(NotExplainable):
    """A network's weights are NaN or infinite, so that nothing it predicts can be explained."""

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__(
            f"After {step} batches this network's weights are not numbers any more (NaN or infinite), so nothing can be told about "
            "it. Choose an earlier moment of it in the sidebar, or train with a smaller learning rate."
        )

    def __reduce__(self) -> tuple:
        return type(self), (self.step,)


class TrainingError(DigitLabError):
    """Training ended by itself before its last epoch."""


class LossNotFinite(TrainingError):
    """The loss became NaN or infinite."""


class EngineError(DigitLabError):
    """A failure of the engine, where the work runs."""


class EngineNotReady(EngineError):
    """The engine is still starting; asking again a little later succeeds."""


class WorkerLost(EngineError):
    """The process that did the work is gone."""
