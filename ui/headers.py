"""HTTP headers: those that keep other sites out of this one, and the cookie by which a browser is known again."""

from __future__ import annotations

import os
import re
import secrets

import streamlit as st
from starlette.requests import Request
from starlette.responses import Response

VISIT_COOKIE = "digitlab_visit"
VISIT_DAYS = 30  # from the last page that was loaded
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # 256 bits
_SITE = re.compile(r"[A-Za-z0-9.*:/-]+")  # so that a setting can't end the policy
_POLICY = (
    "default-src 'self'; script-src 'self' blob: 'sha256-THxz9J9+wf7rhwR2YkXJoSZ13UCmYyC+3lNDv2+8ugA='; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' ws: wss:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
)


class Headers:
    """ASGI middleware that adds a content security policy to every HTTP response, and to a page the visit's cookie. Leaves
    WebSockets alone.
    """

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request = Request(scope)
        added = [*_headers(), *([_visit_header(request)] if _is_for_a_page(request) else [])]

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *added]
            await send(message)

        return await self._app(scope, receive, send_with_headers)


def _headers() -> list[tuple[bytes, bytes]]:
    """Return those of every response. Any site may show the lab in a frame, as Streamlit Cloud does, unless DIGITLAB_FRAMED_BY names
    those that may: there its visitors are strangers to it, and can drive no run that was begun elsewhere."""
    sites = " ".join(site for site in os.environ.get("DIGITLAB_FRAMED_BY", "").split() if _SITE.fullmatch(site))
    policy = f"{_POLICY}; frame-ancestors 'self' {sites}" if "DIGITLAB_FRAMED_BY" in os.environ else _POLICY
    return [(b"content-security-policy", policy.encode()), (b"x-content-type-options", b"nosniff")]


def visit_token(cookies) -> str | None:
    """Return the token by which a browser is known again, of its cookies; None where it sent none of ours."""
    token = dict(cookies).get(VISIT_COOKIE, "")
    return token if _TOKEN.fullmatch(token) else None


def _is_for_a_page(request: Request) -> bool:
    """Return whether the browser goes to a page. What a page consists of must not get a cookie: it is asked for all at once, and
    each answer would bring another."""
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


def _visit_header(request: Request) -> tuple[bytes, bytes]:
    """Return the header that gives the browser its cookie, or lets the one that it has last on. Scripts can't read it, and in
    another site's frame it is sent where that is allowed to Streamlit's own cookie, too."""
    same_site = str(st.get_option("server.xsrfCookieSameSite")).lower()
    is_https = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", "").partition(",")[0])
    response = Response()
    response.set_cookie(
        VISIT_COOKIE,
        visit_token(request.cookies) or secrets.token_urlsafe(32),
        max_age=VISIT_DAYS * 24 * 60 * 60,
        httponly=True,
        samesite=same_site,
        secure=is_https or same_site == "none",
    )
    return response.raw_headers[-1]
