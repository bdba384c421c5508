"""A download comes whole or says why not, whoever answers in the file's place: real sockets, each playing one part."""

from __future__ import annotations

import datetime
import hashlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.data import download
from core.errors import DownloadFailed

CONTENT = bytes(range(256)) * 400  # 0.1 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OK = b"HTTP/1.1 200 OK\r\n"
Part = Callable[[socket.socket], None]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextmanager
def serving(part: Part, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server on this machine that plays one part to everyone who connects; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with suppress(OSError):  # it is over, or the other side hung up, as it shall
                while True:
                    connection, _ = listening.accept()
                    with connection, suppress(OSError):
                        secured = context.wrap_socket(connection, server_side=True) if context else connection
                        with secured:
                            secured.recv(65_536)
                            part(secured)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def saying(*parts: bytes) -> Part:
    return lambda connection: connection.sendall(b"".join(parts))


def whole(content: bytes, promised: int | None = None, kind: str = "application/octet-stream") -> Part:
    head = f"Content-Length: {len(content) if promised is None else promised}\r\nContent-Type: {kind}\r\n\r\n"
    return saying(OK, head.encode(), content)


def endless(connection: socket.socket) -> None:
    connection.sendall(OK + b"\r\n")
    while True:
        connection.sendall(CONTENT)


def silent(connection: socket.socket) -> None:
    connection.recv(1)  # until the other side hangs up


def stalling(connection: socket.socket) -> None:
    connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(CONTENT) + CONTENT[:50_000])
    silent(connection)


def dripping(head: bytes, is_over: threading.Event) -> Part:
    """A letter now and then: no socket's timeout ever ends that."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(head)
        connection.settimeout(0.02)
        while not is_over.is_set():
            with suppress(TimeoutError):
                if not connection.recv(1):
                    return
            connection.sendall(b"x")

    return drip


def reset(connection: socket.socket) -> None:
    connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(CONTENT) + CONTENT[:50_000])
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # hangs up without a good-bye


def fetched(port: int, scheme: str = "http", host: str = "127.0.0.1") -> bytes:
    return download.fetch(f"{scheme}://{host}:{port}/mnist.npz", len(CONTENT), SHA256)


@pytest.mark.parametrize("part", [whole(CONTENT), saying(OK, b"\r\n", CONTENT)], ids=["of a told length", "of none"])
def test_the_whole_file_comes(part):
    with serving(part) as port:
        assert fetched(port) == CONTENT


def test_the_share_that_arrived_is_told_while_more_is_to_come():
    halfway, shares = threading.Event(), []

    def part(connection: socket.socket) -> None:
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % len(CONTENT) + CONTENT[: len(CONTENT) // 2])
        halfway.wait(60)
        connection.sendall(CONTENT[len(CONTENT) // 2 :])

    def tell(share: float) -> None:
        shares.append(share)
        if share == 0.5:
            halfway.set()

    with serving(part) as port:
        download.fetch(f"http://127.0.0.1:{port}/", len(CONTENT), SHA256, tell)

    assert 0.5 in shares
    assert shares[-1] == 1
    assert shares == sorted(shares)


PAGE = b"<!doctype html><title>Welcome to our Wi-Fi</title>"


@pytest.mark.parametrize(
    ("part", "said"),
    [
        pytest.param(whole(PAGE, kind="text/html"), r"A web page came .* log in, and try again", id="login page"),
        pytest.param(whole(PAGE), "A web page came", id="login page of no kind"),
        pytest.param(saying(b"HTTP/1.1 511 Log in\r\n\r\n"), "A web page came", id="511"),
        pytest.param(whole(CONTENT[:50_000], len(CONTENT)), "broke off after 0.1 of 0.1 MB. Try again", id="cut"),
        pytest.param(reset, "broke off", id="reset"),
        pytest.param(whole(CONTENT[:-1]), "102,399 bytes instead of .* try another network", id="shorter"),
        pytest.param(whole(CONTENT[::-1]), "other bytes than", id="other bytes"),
        pytest.param(whole(CONTENT + b"more"), "more than", id="longer"),
        pytest.param(endless, "more than", id="endless"),
        pytest.param(whole(b"", 0), "0 bytes instead of", id="empty"),
        pytest.param(saying(b"HTTP/1.1 503 Busy\r\n\r\n"), r"error \(503 Busy\). Try again later", id="503"),
        pytest.param(saying(b"HTTP/1.1 407 Who\r\n\r\n"), "The proxy asks for a name and a password", id="407"),
        pytest.param(saying(b"SSH-2.0-OpenSSH\r\n"), "can't be reached", id="another protocol"),
        pytest.param(saying(), "hangs up without an answer", id="hangs up"),
    ],
)
def test_what_came_in_place_of_the_file_is_named(part, said):
    with serving(part) as port, pytest.raises(DownloadFailed, match=said) as failure:
        fetched(port)

    assert "object at" not in str(failure.value)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        pytest.param(silent, "does not answer within", id="silent"),
        pytest.param(stalling, r"stopped sending after 0\.\d of 0\.1 MB", id="stalling"),
    ],
)
def test_a_silence_ends(part, said, monkeypatch):
    monkeypatch.setattr(download, "SILENCE_SECONDS", 0.2)

    with serving(part) as port, pytest.raises(DownloadFailed, match=said):
        fetched(port)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 O", OK + b"\r\n"], ids=["in its head", "in the file"])
def test_dripping_ends(head, monkeypatch):
    monkeypatch.setattr(download, "GRACE_SECONDS", 0.3)
    is_over = threading.Event()

    with serving(dripping(head, is_over)) as port:
        with pytest.raises(DownloadFailed, match="sends too slowly"):
            fetched(port)
        is_over.set()


def test_redirects_are_followed_to_the_login_page_too():
    with serving(whole(PAGE, kind="text/html")) as portal:
        elsewhere = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/login\r\n\r\n" % portal
        with serving(saying(elsewhere)) as port, pytest.raises(DownloadFailed, match="A web page came"):
            fetched(port)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (b"407 Proxy Authentication Required", r"The proxy asks for a name and a password \(407\)"),
        (b"403 Forbidden", r"The proxy refuses to connect to example\.org \(403\)"),
    ],
)
def test_a_proxy_that_refuses_is_named(status, said, monkeypatch):
    with serving(saying(b"HTTP/1.1 ", status, b"\r\n\r\n")) as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        with pytest.raises(DownloadFailed, match=said):
            fetched(443, "https", "example.org")


def test_a_proxy_s_address_that_is_none_is_named(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://")

    with pytest.raises(DownloadFailed, match="Look at https_proxy"):
        fetched(80, "http", "example.org")


def test_a_certificate_that_nobody_vouches_for_is_named(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))

    said = r"certificate of localhost is not accepted \(.*clock.*SSL_CERT_FILE"
    with serving(whole(CONTENT), context) as port, pytest.raises(DownloadFailed, match=said):
        fetched(port, "https", "localhost")


def certificate(folder: Path) -> Path:
    """A certificate that localhost signed itself, with its key."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
    )
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = folder / "localhost.pem"
    path.write_bytes(key.private_bytes(*plain) + signed.public_bytes(serialization.Encoding.PEM))
    return path


def test_http_where_https_is_expected_is_named():
    with (
        serving(saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port,
        pytest.raises(DownloadFailed, match="No secure connection"),
    ):
        fetched(port, "https")


def test_an_address_that_nobody_knows_is_named():
    with pytest.raises(DownloadFailed, match=r"The address nowhere\.invalid is not found: this machine is offline"):
        fetched(80, "http", "nowhere.invalid")


def test_nobody_there_is_named():
    with pytest.raises(DownloadFailed, match=r"127\.0\.0\.1 can't be reached \(Connection refused\)"):
        fetched(1)
