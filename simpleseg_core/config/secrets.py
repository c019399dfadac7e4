"""Secrets in texts (credentials in URLs, signed queries, known keys): found to be refused, masked to be shown."""

import re
from collections.abc import Callable
from urllib.parse import unquote

_MASK = "***"

# Every run of characters starts at one place or has a bound: the time for a text grows with its length and no faster.
_USER = re.compile(
    r"""(?P<before>(?<![a-z0-9+.\-])[a-z][a-z0-9+.\-]*:/?/ | (?<![\w:/])//)  # a Path has lost its second slash
    (?P<secret>
        [^\s/?\#:"'<>\[]{0,256}                                    # a user name
        (?: : (?!\d{1,5}(?:[/?\#]|$)) [^\s<>]{0,512} )?            # a password may hold a slash, unlike a port
    )@""",
    re.VERBOSE | re.IGNORECASE,
)
_QUERY = re.compile(r"""(?P<name>(?<=[?&\#;])[^\s=&?\#;"'<>]+)(?P<before>=)(?P<secret>[^\s&\#;"'<>]+)""")
_SETTING = re.compile(
    r"""(?P<name>(?<![\w.\-])[A-Za-z][\w.\-]*)(?P<before>\s*=\s*["']?|["']\s*:\s*["'])(?P<secret>[^\s&;,"']+)"""
)
_TOKEN = re.compile(
    r"""(?<![A-Za-z0-9])(?P<secret>
        (?:AKIA|ASIA)[0-9A-Z]{16}             # Amazon
        | AIza[\w\-]{35}                      # Google
        | gh[pousr]_[A-Za-z0-9]{30,} | github_pat_\w{30,} | glpat-[\w\-]{20,}
        | hf_[A-Za-z0-9]{30,} | sk-[\w\-]{20,} | xox[abprs]-[\w\-]{10,} | pn[ub]_[A-Za-z0-9]{30,}
        | eyJ[\w\-]{10,2000}\.eyJ[\w\-]{10,4000}\.[\w\-]+   # a JSON web token
        | -----BEGIN[ ][A-Z ]{0,30}PRIVATE[ ]KEY-----[^-]*
    )""",
    re.VERBOSE,
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_SECRET_WORDS = {
    "password", "passwd", "passphrase", "pwd", "secret", "token", "signature", "credential", "credentials", "sas",
    "apikey", "accesskey", "secretkey", "accountkey", "accesskeyid", "authorization", "bearer", "jwt",
}  # fmt: skip
_SECRET_KEYS = {"access", "secret", "api", "account", "private", "shared", "signing", "storage", "subscription"}
"""What kind of a `key` is a secret."""
_SECRET_IN_QUERY = {"sig", "key", "auth", "pass", "user", "username", "login", "session"}
"""Words that say so in the query of a URL, while elsewhere they may mean anything."""

_WAYS = {
    "s3": "export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or FSSPEC_S3_KEY and FSSPEC_S3_SECRET",
    "gs": "export GOOGLE_APPLICATION_CREDENTIALS",
    "abfs": "export AZURE_STORAGE_CONNECTION_STRING, or FSSPEC_ABFS_ACCOUNT_KEY",
    "hf": "export HF_TOKEN",
    "hdfs": "export FSSPEC_HDFS_USER",
    "http": "export MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD for MLflow; for a file export "
    """FSSPEC_HTTP='{"headers": {"Authorization": "..."}}', or fetch it first""",
}
_SAME = {"s3a": "s3", "gcs": "gs", "az": "abfs", "abfss": "abfs", "wasb": "abfs", "wasbs": "abfs", "https": "http"}
_AZURE = ("abfs:", "abfss:", "az:", "wasb:", "wasbs:")
_DATABASES = ("postgresql", "postgres", "mysql", "mssql", "sqlite", "oracle")


def find_secret(text: str) -> str | None:
    """What in a text is secret, in words: never the secret itself. None where nothing is."""
    if any(map(_credentials, _USER.finditer(text))):
        return "a user name or a password"
    if match := _first(_QUERY, text, _secret_in_query) or _first(_SETTING, text, _secret_name):
        return f"a secret, `{match['name']}`"
    return "a key" if _TOKEN.search(text) else None


def refusal(text: str) -> str | None:
    """One line that says what secret a text holds and how to give it instead; None where it holds none."""
    found = find_secret(text)
    return f"holds {found}, and this file is no place for one: leave it out, and {_way(text)}" if found else None


def redact(text: str) -> str:
    """A text with every secret in it replaced by `***`; other texts are returned as they are."""
    text = _USER.sub(lambda match: f"{match['before']}{_MASK}@" if _credentials(match) else match[0], text)
    text = _QUERY.sub(_mask(_secret_in_query), text)
    text = _SETTING.sub(_mask(_secret_name), text)
    return _TOKEN.sub(_MASK, text)


def _credentials(match: re.Match[str]) -> bool:
    """Whether what stands before an @ names a user; on Azure it names the container, and only a password counts."""
    container = match["before"].lower().startswith(_AZURE) and ":" not in match["secret"]
    return match["secret"] not in ("", _MASK) and not container


def _first(pattern: re.Pattern[str], text: str, secret: Callable[[str], bool]) -> re.Match[str] | None:
    return next((match for match in pattern.finditer(text) if match["secret"] != _MASK and secret(match["name"])), None)


def _mask(secret: Callable[[str], bool]) -> Callable[[re.Match[str]], str]:
    return lambda match: f"{match['name']}{match['before']}{_MASK}" if secret(match["name"]) else match[0]


def _secret_in_query(name: str) -> bool:
    return bool(_SECRET_IN_QUERY.intersection(_words(name))) or _secret_name(name)


def _secret_name(name: str) -> bool:
    words = _words(name)
    return bool(_SECRET_WORDS.intersection(words)) or ("key" in words and bool(_SECRET_KEYS.intersection(words)))


def _words(name: str) -> list[str]:
    """`X-Amz-Signature`, `AWSAccessKeyId` and `api_key` as lower-case words; percent signs are undone first."""
    return [word.lower() for word in _WORDS.findall(unquote(name))]


def _way(text: str) -> str:
    schemes = re.findall(r"([a-z][a-z0-9.\-]*)(?:\+[a-z0-9]+)?:/?/", text, re.IGNORECASE)
    scheme = schemes[-1].lower() if schemes else ""
    if scheme in _DATABASES:
        return "export the whole address as MLFLOW_TRACKING_URI"
    if way := _WAYS.get(_SAME.get(scheme, scheme)):
        return way
    name = re.sub(r"\W", "_", scheme).upper()
    return f"export FSSPEC_{name}_USERNAME and FSSPEC_{name}_PASSWORD" if scheme else "export it (docs/security.md)"
