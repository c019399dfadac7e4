"""Which URLs and addresses may be connected to: the defence against requests into private networks (SSRF)."""

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import quote

from yarl import URL

from simpleseg_core.fetch._status import Refused, Status

MAX_URL = 4096

_HOST = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\.?")
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_NO_URL = re.compile(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
"""What RFC 3986 has no place for."""
_DOTS = re.compile(r"(?<=/)(?:\.|%2e){1,2}(?=/|$)", re.IGNORECASE)
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")

# Names that never belong to the public web (RFC 6761, RFC 6762, RFC 8375, RFC 7686, ICANN's `internal`).
_LOCAL_NAMES = ("localhost", "local", "internal", "home.arpa", "onion", "localdomain", "intranet", "lan", "corp")

# The ports browsers refuse (WHATWG Fetch, "bad port"), so that a URL cannot speak to a mail or database server.
_BAD_PORTS = frozenset([
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531,
    532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3306, 3659, 4045, 4190,
    5060, 5061, 5432, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 9200, 10080, 11211, 27017,
])  # fmt: skip

# Ports of services that answer HTTP and may act on it (container engines, cluster stores, search, queues, dashboards).
_SERVICE_PORTS = frozenset([
    445, 873, 1433, 1521, 2181, 2375, 2376, 2377, 2379, 2380, 3389, 4194, 4243, 4646, 5672, 5900, 5984, 5985, 5986,
    6443, 7001, 7002, 8009, 8086, 8200, 8265, 8300, 8301, 8302, 8500, 8501, 8600, 9042, 9092, 9300, 10250, 10255, 10256,
    10257, 10259, 15672, 27018, 27019, 50070,
])  # fmt: skip

_CLOSED = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "100.64.0.0/10",
        "168.63.129.16/32",  # a metadata service on a public address (Azure)
        "192.0.0.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "240.0.0.0/4",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
    )
)
_IPV6_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")


class AddressPolicy:
    """Public web addresses only, except host:port pairs that are allowed by name.

    `routes` names servers of our own: the host:port of a URL -> the address:port to connect to.
    """

    def __init__(self, allowed: Iterable[str] = (), routes: Mapping[str, str] | None = None) -> None:
        self._routes = {_split_pair(name): _split_pair(target) for name, target in (routes or {}).items()}
        self._allowed = {_split_pair(pair) for pair in allowed} | set(self._routes)
        self._opened = {pair for pair in self._allowed if _is_address(pair[0])} | set(self._routes.values())

    def route(self, host: str, port: int) -> tuple[str, int] | None:
        """The address and port that stand in for a server of our own."""
        return self._routes.get((host, port))

    def check_url(self, text: str) -> URL:
        """The URL to request: its host as the HTTP client reads it, its path and query as they are written.

        One parser reads it for the check, for the request, for robots.txt and for redirects, so that they cannot
        disagree. Signatures cover the percent-encoding as it is; only what no URL may hold is encoded, and `.` and
        `..` are resolved, or a server would do it after robots.txt was asked for another path.

        Raises:
            Refused: `bad_url`, `scheme`, `port` or `address`; nothing was looked up or connected to.
        """
        url = _parse(text)
        host, port = str(url.raw_host), int(url.port or 0)
        if (host, port) in self._allowed:
            return url
        if port in _BAD_PORTS | _SERVICE_PORTS:
            raise Refused(Status.PORT, f"port {port} is not a web port")
        literal = _literal(host)
        if literal is not None:
            self.check_address(literal, host, port)
        elif _is_local_name(host.rstrip(".")):
            raise Refused(Status.ADDRESS, f"{host} is a local name")
        elif not _HOST.fullmatch(host) or len(host) > 253:
            raise Refused(Status.BAD_URL, "not a host name")
        return url

    def check_address(self, address: str | IPv4Address | IPv6Address, host: str, port: int) -> None:
        """Check the address a name stands for, at the moment it is connected to.

        Raises:
            Refused: `address`.
        """
        if (host, port) in self._allowed:
            self._opened.add((str(address), port))
        elif not is_public(address):
            raise Refused(Status.ADDRESS, f"{host} is {address}, not an address of the public internet")

    def check_socket(self, address: str, port: int) -> None:
        """The last guard, where a connection is about to be opened, whatever way led there.

        Raises:
            Refused: `address`.
        """
        if (address, port) not in self._opened and not is_public(address):
            raise Refused(Status.ADDRESS, f"{address} is not an address of the public internet")


def is_public(address: str | IPv4Address | IPv6Address) -> bool:
    """Whether an address is routed on the public internet and belongs to no metadata service.

    An IPv6 address that stands for an IPv4 address (mapped, NAT64) is judged by that one.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(ip.ipv4_mapped)
        if ip in _NAT64:
            return is_public(IPv4Address(int(ip) & 0xFFFFFFFF))
        if ip not in _IPV6_UNICAST:
            return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in _CLOSED)


def _split_pair(pair: str) -> tuple[str, int]:
    host, _, port = pair.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"ingest.allowed_private_hosts: {pair!r} is not host:port; write for example 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def _parse(text: str) -> URL:
    if not text or len(text) > MAX_URL:
        raise Refused(Status.BAD_URL, f"{len(text)} characters, the limit is {MAX_URL}")
    text = text.strip(" ")
    if _FORBIDDEN.search(text):
        raise Refused(Status.BAD_URL, "control character or backslash")
    try:
        url = _url(text)
        port = url.port
    except (ValueError, UnicodeError) as error:
        raise Refused(Status.BAD_URL, str(error)) from error
    if url.scheme not in ("http", "https"):
        raise Refused(Status.SCHEME, f"scheme {url.scheme!r}")
    if not url.raw_host or port is None:
        raise Refused(Status.BAD_URL, "no host")
    if url.raw_user is not None or url.raw_password is not None:
        raise Refused(Status.BAD_URL, "user name in the URL")
    written = read_as_written(text)
    path = _DOTS.sub(lambda match: match[0].lower().replace("%2e", "."), written.raw_path)
    return url.origin().join(URL.build(path=path, query_string=written.raw_query_string, encoded=True))


def read_as_written(text: str) -> URL:
    """A URL or a reference with its percent-encoding untouched; what no URL may hold is encoded as UTF-8.

    Raises:
        ValueError: it is none.
    """
    return _url(_NO_URL.sub(lambda match: quote(match[0].encode("utf-8", "surrogateescape")), text), encoded=True)


def _url(text: str, *, encoded: bool = False) -> URL:
    try:
        return URL(text, encoded=encoded)
    except IndexError as error:  # yarl's way with brackets in front of an empty host
        raise ValueError("no host behind the brackets") from error


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    """The address a host writes down, None for a name; old number forms (0x7f.1, 2130706433, 0177.0.0.1) refused."""
    if ":" in host:
        if "%" in host:
            raise Refused(Status.ADDRESS, f"{host} names a network interface")
        return IPv6Address(host)
    if not _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        return None
    try:
        return IPv4Address(host)
    except ValueError as error:
        raise Refused(Status.ADDRESS, f"{host} is an address in an ambiguous form") from error


def _is_local_name(host: str) -> bool:
    return any(host == name or host.endswith(f".{name}") for name in _LOCAL_NAMES)
