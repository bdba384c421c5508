"""Engines to test with: small runs, what to wait for, and a cluster that is there before the lab."""

import datetime
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import dask
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.errors import EngineNotReady, WorkerLost
from core.evaluation.questions import Predict
from core.model.specs import Conv2D, Dense, Experiment, Flatten, MaxPooling2D, Training
from core.runs import registry
from core.runs.network import Network
from core.runs.progress import State

ROOT = Path(__file__).parents[3]
PATIENCE = 90.0
SMALL = Experiment(
    layers=(Conv2D(filters=4), MaxPooling2D(pool_size=4), Flatten(), Dense(units=16)),
    training=Training(epochs=2, batch_size=32, train_size=640),
)
LONG = Experiment(layers=SMALL.layers, training=Training(epochs=100, batch_size=8, train_size=1200))


def until(condition, patience=PATIENCE):
    """What the condition gives as soon as it gives something true."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = condition()
        if found is not None and found is not False and (isinstance(found, np.ndarray) or found):
            return found
        time.sleep(0.01)  # between two looks
    raise AssertionError(f"not within {patience} s")


def predict(engine, run, step, images, timeout=2.0):
    return engine.wait(Predict(Network(run, step), images), timeout)


def unless_not_ready(ask):
    try:
        return ask()
    except (EngineNotReady, WorkerLost):
        return None


def blank():
    return np.zeros((1, 28, 28), np.uint8)


def started(engine, root, experiment):
    run = registry.create(experiment, "test", root)
    engine.train(run)
    until(lambda: engine.progress(run).step > 0 or engine.progress(run).state.is_over)
    return run


def trained(engine, root):
    run = registry.create(SMALL, "test", root)
    engine.train(run)
    until(lambda: engine.progress(run).state.is_over)
    assert engine.progress(run).state is State.FINISHED, engine.progress(run).message
    return run


def stop(engine, run):
    engine.command(run.id, is_stopping=True)
    until(lambda: engine.progress(run).state is State.STOPPED)
    until(lambda: run.id not in engine.trainings._futures)


def scheduler_of(stack, folder):
    """A `dask scheduler` and two `dask worker` processes on loopback, with TLS; the scheduler's address."""
    signed, key = certificate(folder)
    tls = {"ca-file": signed, "client.cert": signed, "client.key": key}
    stack.enter_context(dask.config.set({f"distributed.comm.tls.{name}": value for name, value in tls.items()}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tls://127.0.0.1:{port}"
    options = ["--tls-ca-file", signed, "--tls-cert", signed, "--tls-key", key]
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


def certificate(folder):
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
