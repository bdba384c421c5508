"""Download of a file: complete or not at all, and if it fails, the reason in a sentence that says what to do.

Anyone may answer: a Wi-Fi's login page, a proxy, a server that never ends or never continues. So no more is read than
the file's known size, and no longer waited than its least speed allows.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from urllib.parse import urlsplit

from core.errors import DownloadFailed

SILENCE_SECONDS = 10.0  # without a single byte; a slow line is not a dead one
GRACE_SECONDS = 30.0  # before the speed is looked at
LEAST_SPEED = 20_000  # bytes a second since then, on average: MNIST comes within ten minutes or not at all
CHUNK = 256 * 1024  # bytes taken at once, at most: about 2% of MNIST
_TICK_SECONDS = 0.1


def fetch(url: str, size: int, sha256: str, on_progress: Callable[[float], None] = lambda share: None) -> bytes:
    """Download a file of so many bytes. Proxies are those of the environment, as with every urllib.

    Args:
        sha256: of its content, in hex digits.
        on_progress: called with the share that has arrived, in [0, 1].

    Raises:
        DownloadFailed: it didn't come, or another one did.
    """
    transfer, began = _Transfer(url, size), time.monotonic()
    while not transfer.is_over(_TICK_SECONDS):
        arrived = len(transfer.content)
        on_progress(min(arrived / size, 1.0))
        if arrived < LEAST_SPEED * (time.monotonic() - began - GRACE_SECONDS):
            transfer.give_up()
            raise DownloadFailed(
                f"{transfer.host} sends too slowly: {arrived / 1e6:.1f} of {size / 1e6:.1f} MB in "
                f"{time.monotonic() - began:.0f} seconds. Try again later, or from another network."
            )
    content = bytes(transfer.content)
    if transfer.error is None and hashlib.sha256(content).hexdigest() == sha256:
        on_progress(1.0)
        return content
    raise DownloadFailed(transfer.why()) from transfer.error


class _Transfer:
    """A file on its way, received on a thread of its own.

    Neither a slow name look-up nor a server that sends its headers letter by letter ever runs into a socket's timeout.
    """

    def __init__(self, url: str, size: int) -> None:
        self.host, self.content = urlsplit(url).hostname or url, bytearray()
        self.error: Exception | None = None
        self._url, self._size, self._promised, self._is_page = url, size, None, False
        self._is_given_up = False
        self._thread = threading.Thread(target=self._receive, name="download", daemon=True)
        self._thread.start()

    def is_over(self, timeout: float) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def give_up(self) -> None:
        self._is_given_up = True

    def _receive(self) -> None:
        try:
            opener = urllib.request.build_opener()  # urlopen's own remembers for ever which proxies there were at first
            with opener.open(self._url, timeout=SILENCE_SECONDS) as response:
                self._promised, self._is_page = response.length, response.headers.get_content_type() == "text/html"
                while not self._is_given_up and len(self.content) <= self._size:
                    chunk = response.read1(min(CHUNK, self._size + 1 - len(self.content)))
                    if not chunk:
                        break
                    self.content += chunk
        except (OSError, http.client.HTTPException, ValueError) as error:  # the last: a proxy's address that is none
            self.error = error
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection

    def why(self) -> str:
        """Return why the content isn't the file."""
        if self.error is not None:
            return self._of_error(getattr(self.error, "reason", None) or self.error)
        if self._is_page or self.content.lstrip().startswith(b"<"):
            return _portal(self.host)
        if self._promised is not None and len(self.content) < min(self._promised, self._size):
            return self._broken_off()
        received = "more than" if len(self.content) > self._size else f"{len(self.content):,} bytes instead of"
        if len(self.content) == self._size:
            received = "other bytes than"
        return (
            f"{self.host} sent {received} the {self._size / 1e6:.1f} MB that are expected. Something on the way changes "
            "downloads, as a filter does: try another network."
        )

    def _of_error(self, reason: object) -> str:
        said = str(reason)
        refused = re.search(r"Tunnel connection failed: (\d+)", said)
        status = (
            self.error.code if isinstance(self.error, urllib.error.HTTPError) else int(refused[1]) if refused else 0
        )
        if status == 407:
            return (
                "The proxy asks for a name and a password (407). Put them into https_proxy, as in http://name:password@host:port, "
                "and start the lab again."
            )
        if refused:
            return (
                f"The proxy refuses to connect to {self.host} ({status}). Ask whoever runs it, or try another network."
            )
        if status == 511:
            return _portal(self.host)
        if status:
            return f"{self.host} answers with an error ({status} {said}). Try again later."
        match reason:
            case ssl.SSLCertVerificationError():
                return (
                    f"The certificate of {self.host} is not accepted ({reason.verify_message}). Either a Wi-Fi wants you to log in "
                    "first, or this machine's clock is wrong, or a company's filter reads along: then let SSL_CERT_FILE "
                    "name a file with its certificate, and start the lab again."
                )
            case ssl.SSLError():
                return f"No secure connection to {self.host} comes about ({said}). Try another network."
            case socket.gaierror():
                return (
                    f"The address {self.host} is not found: this machine is offline, or has no name server. Go online."
                )
            case TimeoutError() if self.content:
                return (
                    f"{self.host} stopped sending after {len(self.content) / 1e6:.1f} of {self._size / 1e6:.1f} MB, and nothing "
                    f"came for {SILENCE_SECONDS:g} seconds. Try again."
                )
            case TimeoutError():
                return f"{self.host} does not answer within {SILENCE_SECONDS:g} seconds. Try again, or from another network."
            case http.client.RemoteDisconnected() if not self.content:
                return f"{self.host}, or a proxy before it, hangs up without an answer. Try again, or from another network."
            case http.client.IncompleteRead() | ConnectionResetError() | BrokenPipeError():
                return self._broken_off()
            case OSError() if reason.strerror:
                return f"{self.host} can't be reached ({reason.strerror}). Go online, or look at https_proxy if there is a proxy."
        return f"{self.host} can't be reached ({said[:200]}). Look at https_proxy if there is a proxy."

    def _broken_off(self) -> str:
        return f"The connection to {self.host} broke off after {len(self.content) / 1e6:.1f} of {self._size / 1e6:.1f} MB. Try again."


def _portal(host: str) -> str:
    return (
        f"A web page came in place of the file from {host}, as a Wi-Fi's login page does. Open any page in the browser of the "
        "machine that runs the lab, log in, and try again."
    )
