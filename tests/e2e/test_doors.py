"""Who is let in: other sites are not, and a browser is known again."""

from __future__ import annotations

import re
import socket
import subprocess
from http.cookies import SimpleCookie
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def own_computer(start_server):
    """A server with the options that `make run` gives it, but for its port and address."""
    recipe = subprocess.run(["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    options = re.findall(r"--server.allowedHosts \S+", recipe)
    server = start_server(*" ".join(options).split())
    yield server
    server.stop()


def answer(server, path: str, **headers: str) -> tuple[int, dict[str, list[str]]]:
    """Return the status of the answer to a GET with exactly these headers, and its headers by their lower-case names."""
    lines = [f"GET {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(4096)
    status, *given = received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    found: dict[str, list[str]] = {}
    for line in given:
        name, _, value = line.partition(": ")
        found.setdefault(name.lower(), []).append(value)
    return int(status.split()[1]), found


def opened(server, host: str, origin: str) -> int:
    """Return the status that a browser gets that opens the page's WebSocket: 101 where it is let in."""
    websocket = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    key = {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec_WebSocket_Protocol": "streamlit"}
    return answer(server, "/_stcore/stream", Host=host, Origin=origin, **websocket, **key)[0]


class TestOwnComputer:
    @pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]"])
    def test_its_own_names_open_it(self, own_computer, name):
        host = f"{name}:{own_computer.port}"

        assert opened(own_computer, host, f"http://{host}") == 101

    @pytest.mark.parametrize(
        "name", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "localhost@evil"]
    )
    def test_another_site_s_name_that_leads_here_does_not(self, own_computer, name):
        host = f"{name}:{own_computer.port}"

        assert opened(own_computer, host, f"http://{host}") == 403

    def test_nor_does_another_site_s_page(self, own_computer):
        assert opened(own_computer, f"localhost:{own_computer.port}", "http://evil.example") == 403


class TestCookie:
    """A browser is known again by what no script and no other site can read, and nobody can guess."""

    @staticmethod
    def cookie(server, path: str = "/", **headers: str):
        """Return the visit's cookie that an answer sets; None where it sets none."""
        headers = {"Host": "lab.example", "Accept": "text/html,*/*;q=0.8", "Connection": "close", **headers}
        given = SimpleCookie()
        for line in answer(server, path, **headers)[1].get("set-cookie", []):
            given.load(line)
        return given.get("digitlab_visit")

    def test_a_page_gives_a_new_browser_one_of_its_own(self, own_computer):
        one, other = self.cookie(own_computer), self.cookie(own_computer, "/draw?run=x")

        assert len(one.value) == len(other.value) == 43
        assert one.value != other.value
        assert (one["httponly"], one["samesite"], one["path"], one["secure"]) == (True, "lax", "/", "")
        assert one["max-age"] == str(30 * 24 * 60 * 60)

    def test_one_that_it_has_lasts_on(self, own_computer):
        token = self.cookie(own_computer).value

        assert self.cookie(own_computer, Cookie=f"digitlab_visit={token}").value == token

    @pytest.mark.parametrize("token", ["", "a", "a" * 44, "../" * 14 + "a", "a" * 42 + "%"])
    def test_one_that_is_none_of_ours_is_replaced(self, own_computer, token):
        assert self.cookie(own_computer, Cookie=f"digitlab_visit={token}").value != token

    def test_what_a_page_consists_of_brings_none(self, own_computer):
        assert self.cookie(own_computer, "/_stcore/health", Accept="*/*") is None

    def test_over_https_it_is_never_sent_without(self, own_computer):
        assert self.cookie(own_computer, X_Forwarded_Proto="https")["secure"] is True
