"""Who may use a server that we start: whoever has the key of this start, under the names by which it is opened."""

import base64
import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")

OPEN_PATH = "/simpleseg-open"
"""Where a link with a ticket leads; the guard answers it, not the server behind."""

_VARIABLE = "SIMPLESEG_ACCESS"
_USER = "simpleseg"


@dataclass(frozen=True, slots=True)
class Access:
    """The key of one start, and the names under which a browser may ask for the page."""

    key: str
    names: tuple[str, ...] = LOOPBACK_NAMES
    """Host names and addresses without a port, IPv6 in brackets."""

    @classmethod
    def new(cls, *names: str) -> "Access":
        """A new key, for loopback and further names."""
        return cls(secrets.token_urlsafe(32), (*LOOPBACK_NAMES, *(name.lower() for name in names)))

    @classmethod
    def handed_over(cls) -> "Access":
        """What a parent gave this process with `for_server`; taken out of the environment, so that no child gets it."""
        given = json.loads(os.environ.pop(_VARIABLE))
        return cls(given["key"], tuple(given["names"]))

    def for_server(self) -> dict[str, str]:
        """Variables that hand this over to the process of a server."""
        return {_VARIABLE: json.dumps(asdict(self))}

    def for_prefect_clients(self, url: str) -> dict[str, str]:
        """Variables with which Prefect's clients, of this process and its children, use the server at `url`."""
        headers = json.dumps({"Authorization": self.credentials[0]})  # its websockets send no other header
        return {
            "PREFECT_API_URL": f"{url}/api",
            "PREFECT_API_AUTH_STRING": f"{_USER}:{self.key}",
            "PREFECT_CLIENT_CUSTOM_HEADERS": headers,
        }

    @property
    def credentials(self) -> tuple[str, str]:
        """The Authorization headers of programs: a user with the key as password, or the key as token."""
        return f"Basic {base64.b64encode(f'{_USER}:{self.key}'.encode()).decode()}", f"Bearer {self.key}"

    @property
    def cookie(self) -> tuple[str, str]:
        """Name and value of a browser's cookie; the name tells servers apart, for a cookie knows no port."""
        return f"{_USER}-{self._sign('name')[:8]}", self._sign("session")

    def link(self, url: str, page: str) -> str:
        """A link that opens a page once, in the browser that follows it first."""
        nonce = secrets.token_urlsafe(12)
        return f"{url}{OPEN_PATH}?ticket={nonce}.{self._sign(f'{page}:{nonce}')}"

    def admits(self, ticket: str, page: str) -> bool:
        """Whether a ticket was made with this key for this page."""
        nonce, _, signature = ticket.partition(".")
        return hmac.compare_digest(signature.encode(), self._sign(f"{page}:{nonce}").encode())

    def _sign(self, text: str) -> str:
        return hmac.digest(self.key.encode(), text.encode(), "sha256").hex()
