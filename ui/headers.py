"""HTTP headers that keep other sites out of this one."""

_POLICY = (
    "default-src 'self'; script-src 'self' blob: 'sha256-THxz9J9+wf7rhwR2YkXJoSZ13UCmYyC+3lNDv2+8ugA='; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' ws: wss:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
)
_HEADERS = [(b"content-security-policy", _POLICY.encode()), (b"x-content-type-options", b"nosniff")]


class SecurityHeaders:
    """ASGI middleware that adds a content security policy to every HTTP response. Leaves WebSockets alone.

    `frame-ancestors` is not set: Streamlit Cloud shows apps in a frame.
    """

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        return await self._app(scope, receive, send_with_headers)
