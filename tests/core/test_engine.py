"""The engine, embedded and on a cluster that was there before: the same tests for both."""

import datetime
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import dask
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core import engine as engine_module
from core import runs
from core.engine import Engine, Phase
from core.errors import EngineError, EngineNotReady, WorkerLost
from core.progress import Command, State
from core.specs import SGD, Conv2D, Dense, Experiment, Flatten, MaxPooling2D, Training

ROOT = Path(__file__).parents[2]
PATIENCE = 90.0
SMALL = Experiment(
    layers=(Conv2D(filters=4), MaxPooling2D(pool_size=4), Flatten(), Dense(units=16)),
    training=Training(epochs=2, batch_size=32, train_size=640),
)
LONG = Experiment(layers=SMALL.layers, training=Training(epochs=100, batch_size=8, train_size=1200))


@pytest.fixture(scope="module", params=["embedded", "cluster"])
def engine(request, tmp_path_factory):
    with ExitStack() as stack:
        scheduler = None
        if request.param == "cluster":
            scheduler = _cluster(stack, tmp_path_factory.mktemp("cluster"))
        made = Engine(scheduler)
        stack.callback(made.close)
        made.start()
        _until(lambda: made.status().phase is Phase.READY)
        yield made


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "runs")


def test_a_run_trains_to_its_end_and_leaves_a_whole_folder(engine, root):
    run = _trained(engine, root)

    assert engine.progress(run).state is State.FINISHED
    assert [row.epoch for row in engine.progress(run).history] == [1, 2]
    assert run.epochs() == [1, 2]
    assert run.last_checkpoint().epoch == 2
    assert run.has_keras_file()


def test_what_the_events_said_is_what_the_folder_says(engine, root):
    run = _trained(engine, root)
    live = engine._progress[run.id]
    _until(lambda: live.state is State.FINISHED)
    recorded = run.progress()

    assert live.history == recorded.history
    assert list(live.loss) == list(recorded.loss)
    assert live.step == recorded.step


def test_probabilities_are_those_of_the_evaluation(engine, root):
    from core import data

    run = _trained(engine, root)
    evaluation = _until(lambda: engine.evaluation(run, 2))
    images = data.load().x_test[:3]
    probabilities = _until(lambda: _unless_not_ready(lambda: engine.predict(run, 2, images)))

    assert probabilities.shape == (3, 10)
    np.testing.assert_allclose(probabilities, evaluation.probabilities[:3], atol=1e-5)
    np.testing.assert_allclose(evaluation.probabilities.sum(axis=1), 1, atol=1e-5)


def test_an_evaluation_is_computed_once(engine, root):
    run = _trained(engine, root)
    _until(lambda: engine.evaluation(run, 2))
    written = Path(root, run.id, "evaluation.npz").stat().st_mtime_ns

    assert engine.evaluation(run, 2) is not None
    assert Path(root, run.id, "evaluation.npz").stat().st_mtime_ns == written


def test_a_paused_run_stands_still_until_it_goes_on(engine, root):
    run = _started(engine, root, LONG)
    engine.command(run.id, Command(is_paused=True))
    _until(lambda: engine.progress(run).state is State.PAUSED)
    step = engine.progress(run).step

    assert run.record().state is State.PAUSED
    assert engine.progress(run).step == step

    engine.command(run.id, Command())
    _until(lambda: engine.progress(run).step > step)
    _stop(engine, run)


def test_a_stopped_run_keeps_its_last_epoch_and_can_go_on(engine, root):
    short = Experiment(layers=SMALL.layers, training=Training(epochs=30, batch_size=8, train_size=1200))
    run = _started(engine, root, short)
    _until(lambda: engine.progress(run).history)
    _stop(engine, run)
    kept = run.epochs()[-1]

    assert engine.progress(run).state is State.STOPPED
    assert 1 <= kept < 30

    engine.train(run)
    _until(lambda: engine.progress(run).state is State.FINISHED)

    assert run.epochs() == list(range(1, 31))


def test_the_second_run_waits_for_a_free_worker_and_can_leave_the_queue(engine, root):
    workers = engine.status().workers
    busy = [_started(engine, root, LONG) for _ in range(workers)]
    waiting = runs.create(SMALL, "waits", root)
    engine.train(waiting)

    assert engine.progress(waiting).state is State.QUEUED
    assert waiting.id in engine.status().queued

    engine.command(waiting.id, Command(is_stopping=True))

    assert engine.progress(waiting).state is State.STOPPED
    for run in busy:
        _stop(engine, run)


def test_a_loss_that_is_not_finite_ends_the_run_and_says_so(engine, root):
    training = Training(epochs=3, train_size=640, optimizer=SGD(momentum=0.99), learning_rate=10.0)
    wild = (Conv2D(filters=8, activation="linear"), Flatten(), Dense(units=64, activation="linear"))
    run = runs.create(Experiment(layers=wild, training=training), "wild", root)
    engine.train(run)
    _until(lambda: engine.progress(run).state.is_over)

    assert engine.progress(run).state is State.FAILED
    assert "Try a lower learning rate" in engine.progress(run).message
    assert _trained(engine, root).epochs() == [1, 2]


def test_a_killed_worker_interrupts_its_run_which_goes_on_from_its_last_epoch(engine, root):
    run = _started(engine, root, LONG)
    _until(lambda: engine.progress(run).history)
    _kill_worker_of(engine, run)
    _until(lambda: engine.progress(run).state is State.INTERRUPTED, patience=5)
    kept = run.last_checkpoint().epoch

    assert run.record().state is State.INTERRUPTED

    engine.train(run)
    _until(lambda: engine.progress(run).step > kept * engine.progress(run).steps_per_epoch)

    assert engine.progress(run).history[kept - 1].epoch == kept
    _stop(engine, run)


def test_predictions_come_back_after_the_worker_died(engine, root):
    run = _trained(engine, root)
    _until(lambda: _unless_not_ready(lambda: engine.predict(run, 2, _blank())) is not None)
    for process in engine._client.run(os.getpid).values():
        os.kill(process, signal.SIGKILL)
    probabilities = _until(lambda: _unless_not_ready(lambda: engine.predict(run, 2, _blank())))

    assert probabilities.shape == (1, 10)


def test_a_run_that_only_its_folder_calls_unfinished_is_interrupted(engine, root):
    run = runs.create(SMALL, "left behind", root)
    run.write_state(State.RUNNING)

    assert engine.progress(run).state is State.INTERRUPTED


def test_no_exception_of_another_library_leaves_the_worker():
    def explode():
        raise ZeroDivisionError("of a kind that must stay there")

    answer = engine_module._in_worker(explode)

    with pytest.raises(EngineError, match="ZeroDivisionError: of a kind that must stay there"):
        engine_module._unwrapped(answer)


def test_an_engine_that_cannot_reach_its_scheduler_says_so(monkeypatch, root):
    monkeypatch.setattr(engine_module, "CONNECT_SECONDS", 1)
    alone = Engine("tcp://127.0.0.1:1")
    alone.start()
    _until(lambda: alone.status().phase is Phase.FAILED)

    assert "did not start" in alone.status().message
    alone.close()


def test_predicting_before_the_engine_is_ready_is_refused_with_a_reason(root):
    sleeping = Engine("tcp://127.0.0.1:1")

    with pytest.raises(EngineNotReady, match="TensorFlow"):
        sleeping.predict(runs.Run("a" * 16, root), 1, _blank())


def test_another_server_on_the_same_scheduler_finds_the_run_going_on(engine, root):
    if engine._cluster is not None:
        pytest.skip("an embedded cluster has one server")
    run = _started(engine, root, LONG)
    _until(lambda: engine.progress(run).history)
    other = Engine(engine._scheduler)
    other.start()
    _until(lambda: other.status().phase is Phase.READY)
    step = other.progress(run).step

    assert other.progress(run).state is State.RUNNING
    _until(lambda: other.progress(run).step > step)
    other.close()
    _stop(engine, run)


def test_an_idle_worker_that_has_grown_is_restarted(engine, monkeypatch):
    if engine._cluster is None:
        pytest.skip("a cluster's workers are not ours to restart")
    before = set(engine._client.run(os.getpid).values())
    monkeypatch.setattr(engine_module, "RECYCLE_ABOVE_BYTES", 0)
    _until(lambda: engine.status().phase is Phase.WARMING)
    monkeypatch.undo()
    _until(lambda: engine.status().phase is Phase.READY)

    assert before.isdisjoint(engine._client.run(os.getpid).values())


def test_this_process_never_loads_tensorflow():
    code = (
        "import sys; from core.engine import Engine, Phase\n"
        "def main():\n"
        "    e = Engine(); e.start()\n"
        "    while e.status().phase is not Phase.READY: pass\n"
        "    e.close(); print([m for m in ('tensorflow', 'keras') if m in sys.modules])\n"
        "if __name__ == '__main__': main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)

    assert done.stdout.strip() == "[]", done.stderr


# --- the means ----------------------------------------------------------------------------------------------------------


def _until(condition, patience=PATIENCE):
    """What the condition gives as soon as it gives something true."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = condition()
        if found is not None and found is not False and (isinstance(found, np.ndarray) or found):
            return found
        time.sleep(0.01)  # between two looks
    raise AssertionError(f"not within {patience} s")


def _unless_not_ready(ask):
    try:
        return ask()
    except (EngineNotReady, WorkerLost):
        return None


def _blank():
    return np.zeros((1, 28, 28), np.uint8)


def _started(engine, root, experiment):
    run = runs.create(experiment, "test", root)
    engine.train(run)
    _until(lambda: engine.progress(run).step > 0 or engine.progress(run).state.is_over)
    return run


def _trained(engine, root):
    run = runs.create(SMALL, "test", root)
    engine.train(run)
    _until(lambda: engine.progress(run).state.is_over)
    assert engine.progress(run).state is State.FINISHED, engine.progress(run).message
    return run


def _stop(engine, run):
    engine.command(run.id, Command(is_stopping=True))
    _until(lambda: engine.progress(run).state is State.STOPPED)
    _until(lambda: run.id not in engine._futures)


def _kill_worker_of(engine, run):
    processing = engine._client.processing()
    worker = next(address for address, tasks in processing.items() if engine_module._task(run.id) in tasks)
    os.kill(engine._client.run(os.getpid, workers=[worker])[worker], signal.SIGKILL)


def _cluster(stack, folder):
    """A `dask scheduler` and two `dask worker` processes on loopback, with TLS; the scheduler's address."""
    certificate, key = _certificate(folder)
    tls = {"ca-file": certificate, "client.cert": certificate, "client.key": key}
    stack.enter_context(dask.config.set({f"distributed.comm.tls.{name}": value for name, value in tls.items()}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tls://127.0.0.1:{port}"
    options = ["--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
        "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    }
    commands = [
        ["scheduler", "--host", f"tls://127.0.0.1:{port}", "--no-dashboard"],
        *[["worker", address, "--nthreads", "2", "--resources", "train=1", "--no-dashboard"] for _ in range(2)],
    ]
    for command in commands:
        log = stack.enter_context((folder / "log.txt").open("a"))
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *command, *options], cwd=folder, env=environment, stdout=log, stderr=log
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
    return address


def _certificate(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "digitlab-test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")
