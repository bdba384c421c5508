"""The headers of a page where the lab is shown in another site's frame, and behind a server that speaks HTTPS for it."""

from __future__ import annotations

import asyncio
from http.cookies import SimpleCookie

import pytest
from streamlit import config

from ui.headers import Headers

SAME_SITE = "server.xsrfCookieSameSite"


async def page(scope, receive, send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b""})


def answered(scheme: str = "http", **headers: str) -> dict[str, str]:
    """Return the headers of the answer to a browser that goes to a page."""
    given = {"accept": "text/html", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": scheme,
        "server": ("lab.example", 80),
        "path": "/",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    sent = []

    async def send(message) -> None:
        sent.append(message)

    asyncio.run(Headers(page)(scope, None, send))
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def cookie(headers: dict[str, str]):
    return SimpleCookie(headers["set-cookie"])["digitlab_visit"]


@pytest.fixture
def same_site_none():
    before = config.get_option(SAME_SITE)
    config.set_option(SAME_SITE, "none")
    yield
    config.set_option(SAME_SITE, before)


def test_the_app_s_own_headers_stay():
    assert answered()["content-type"] == "text/html"


def test_any_site_may_show_the_lab_in_a_frame_unless_some_are_named(monkeypatch):
    monkeypatch.delenv("DIGITLAB_FRAMED_BY", raising=False)

    assert "frame-ancestors" not in answered()["content-security-policy"]


@pytest.mark.parametrize(
    ("sites", "expected"),
    [
        ("", "frame-ancestors 'self'"),
        ("https://school.example", "frame-ancestors 'self' https://school.example"),
        (
            "https://a.example  https://*.b.example:8443",
            "frame-ancestors 'self' https://a.example https://*.b.example:8443",
        ),
        ("https://a.example; script-src *", "frame-ancestors 'self' script-src *"),
        ("https://a.example\r\nset-cookie:x", "frame-ancestors 'self' https://a.example set-cookie:x"),
        ("'unsafe-inline' https://ä.example", "frame-ancestors 'self'"),
    ],
)
def test_those_named_may_and_no_name_ends_the_policy(monkeypatch, sites, expected):
    monkeypatch.setenv("DIGITLAB_FRAMED_BY", sites)

    policy = [part.strip() for part in answered()["content-security-policy"].split(";")]

    assert policy[-1] == expected
    assert sum(part.startswith("script-src") for part in policy) == 1


def test_in_another_site_s_frame_a_cookie_is_sent_where_streamlit_s_own_is(same_site_none):
    given = cookie(answered())

    assert (given["samesite"], given["secure"], given["httponly"]) == ("none", True, True)


@pytest.mark.parametrize(
    ("scheme", "headers", "secure"),
    [
        ("http", {}, ""),
        ("https", {}, True),
        ("http", {"x_forwarded_proto": "https"}, True),
        ("http", {"x_forwarded_proto": "https, http"}, True),
        ("http", {"x_forwarded_proto": "http, https"}, ""),
    ],
)
def test_over_https_the_cookie_stays_on_https(scheme, headers, secure):
    given = cookie(answered(scheme, **headers))

    assert (given["samesite"], given["secure"]) == ("lax", secure)
