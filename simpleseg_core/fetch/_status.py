"""Why a row of metadata has an image or has none: one name for each outcome, counted in every summary."""

from enum import StrEnum


class Status(StrEnum):
    """Outcome of one row; answers of a server that are not 200 are `http_CODE` instead."""

    OK = "ok"
    FILTERED_SIZE = "filtered_size"
    FILTERED_ASPECT = "filtered_aspect"
    FILTERED_SIMILARITY = "filtered_similarity"
    FILTERED_SAFETY = "filtered_safety"
    FILTERED_WATERMARK = "filtered_watermark"
    FILTERED_TEXT = "filtered_text"
    FILTERED_LANGUAGE = "filtered_language"
    FILTERED_LICENSE = "filtered_license"
    DUPLICATE_URL = "duplicate_url"
    BAD_URL = "bad_url"
    SCHEME = "scheme"
    PORT = "port"
    ADDRESS = "address"
    DNS = "dns"
    ROBOTS = "robots"
    NOAI = "noai"
    REDIRECTS = "redirects"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    CONNECTION_LOST = "connection_lost"
    PROTOCOL = "protocol"
    CONTENT_TYPE = "content_type"
    CONTENT_ENCODING = "content_encoding"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SMALL = "too_small"
    ASPECT = "aspect"
    BROKEN_IMAGE = "broken_image"
    DECODER_DIED = "decoder_died"
    HASH_MISMATCH = "hash_mismatch"
    NEAR_DUPLICATE = "near_duplicate"
    REMOVED = "removed"


_MAY_PASS = frozenset({Status.DNS, Status.CONNECT, Status.TIMEOUT, Status.CONNECTION_LOST, Status.DECODER_DIED})
_WORTH_A_RETRY = frozenset({Status.CONNECT, Status.TIMEOUT, Status.CONNECTION_LOST})
_HTTP_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})


class Refused(Exception):
    """A row that will have no image: its status, a detail for people, and the pause a server asked for, in seconds."""

    def __init__(self, status: str, detail: str = "", retry_after: float | None = None) -> None:
        super().__init__(status, detail, retry_after)
        self.status = str(status)
        self.detail = detail
        self.retry_after = retry_after

    @property
    def worth_a_retry(self) -> bool:
        """Whether another try within seconds can succeed."""
        return self.status in _WORTH_A_RETRY or _http_may_pass(self.status)


def http_status(code: int) -> str:
    """Status of an answer with this code."""
    return f"http_{code}"


def may_pass(status: str) -> bool:
    """Whether a row that failed with this status can succeed on another day."""
    return status in _MAY_PASS or _http_may_pass(status)


def _http_may_pass(status: str) -> bool:
    code = status.removeprefix("http_")
    return code.isdigit() and int(code) in _HTTP_MAY_PASS
