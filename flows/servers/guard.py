"""The rules of every server that we start, in front of it: the right name, its own page, the key.

A web page that is open in the user's browser can reach loopback too. It is told apart by what browsers send along and
pages cannot change: `Host`, `Origin`, `Sec-Fetch-Site`.
"""

import hmac
import re
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.servers.access import OPEN_PATH, Access

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^:@/\s]+)(:\d{1,5})?")
_POLICY_VIOLATION = 1008
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PAGE = "connect-src 'self' data: blob:; img-src 'self' data: blob:; frame-ancestors 'self'; form-action 'self'"
"""Prefect's page would call its vendor's analytics, whatever its settings say, and what a record shows could report."""
_DOWNLOAD = "sandbox; default-src 'none'"
_SHARING = ("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials")


class Guard:
    """An ASGI application that lets through to another one only what its own page or a program with the key asks.

    Args:
        app: the server behind.
        access: key and names.
        page: what the server is called in links that open it.
    """

    def __init__(self, app: ASGIApp, access: Access, page: str) -> None:
        self._app, self._access, self._page = app, access, page
        self._credentials = [header.encode() for header in access.credentials]
        self._used: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif (reply := self._refusal(HTTPConnection(scope))) is None:
            await self._app(scope, receive, _hardened(send))
        elif scope["type"] == "http":
            await reply(scope, receive, _hardened(send))
        else:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})

    def _refusal(self, request: HTTPConnection) -> Response | None:
        """What to answer instead of the server; None where the request may pass."""
        if not self._has_right_name(request):
            return PlainTextResponse("This server does not go by that name (docs/security.md).", 403)
        if not _is_from_own_page(request):
            return PlainTextResponse("Other pages may not use this server.", 403)
        known = self._has_key(request)
        if request.scope["path"] == OPEN_PATH:
            return self._open(request, known=known)
        return None if known else PlainTextResponse("Open the link that `simpleseg ui` prints.", 401)

    def _has_right_name(self, request: HTTPConnection) -> bool:
        """Whether it asks for one of our names: a foreign name that leads here (DNS rebinding) is its page's origin."""
        hosts = request.headers.getlist("host")
        found = _HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
        return found is not None and found["name"] in self._access.names

    def _has_key(self, request: HTTPConnection) -> bool:
        name, value = self._access.cookie
        given = request.headers.get("authorization", "").encode()
        if any(hmac.compare_digest(given, accepted) for accepted in self._credentials):
            return True
        return hmac.compare_digest(request.cookies.get(name, "").encode(), value.encode())

    def _open(self, request: HTTPConnection, *, known: bool) -> Response:
        ticket = request.query_params.get("ticket", "")
        fresh = ticket not in self._used and self._access.admits(ticket, self._page)
        if not (known or fresh):
            return PlainTextResponse("This link has been used, or is none of ours: `simpleseg ui` prints another.", 401)
        reply = RedirectResponse("/", 303, headers={"Cache-Control": "no-store"})
        if fresh:
            self._used.add(ticket)
            name, value = self._access.cookie
            secure = request.url.scheme == "https"
            # Lax, not strict: a link from elsewhere may lead to the page; what else comes from there is refused above.
            reply.set_cookie(name, value, httponly=True, samesite="lax", secure=secure)
        return reply


def _is_from_own_page(request: HTTPConnection) -> bool:
    """Whether a page of this server asks, or no page at all: an address typed, a link followed, a program."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers["host"].lower():
        return False
    if request.headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return True
    return (
        request.scope.get("method") == "GET"
        and request.headers.get("sec-fetch-mode") == "navigate"
        and request.headers.get("sec-fetch-dest") == "document"
    )


def _hardened(send: Send) -> Send:
    """Answers are for our page alone: it asks nobody else, nobody frames it, and what it downloads runs no scripts."""

    async def hardened(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_HEADERS)
            for name in _SHARING:
                del headers[name]
            download = headers.get("content-disposition", "").startswith("attachment")
            headers["Content-Security-Policy"] = _DOWNLOAD if download else _PAGE
        await send(message)

    return hardened
