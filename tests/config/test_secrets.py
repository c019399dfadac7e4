"""Secrets have no place in the configuration: each is found, refused with the way to give it, and never repeated."""

from pathlib import Path
from time import process_time
from typing import get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from simpleseg_core.config import Config, WebConfig
from simpleseg_core.config._base import Section
from simpleseg_core.config.files import ConfigError, dump_yaml, load_config, load_profile, profiles
from simpleseg_core.config.secrets import find_secret, redact, refusal

_SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_names = st.text(_SAFE, min_size=1, max_size=12)
_passwords = st.text(_SAFE + "/+=@!$-_.%\"'", min_size=6, max_size=40).map("pa".__add__)
_schemes = st.sampled_from(["s3", "gs", "abfs", "https", "sftp", "postgresql", "postgresql+psycopg2", "filecache::s3"])
_signatures = st.sampled_from(
    [
        "sig", "X-Amz-Signature", "X-Amz-Security-Token", "X-Goog-Credential", "AWSAccessKeyId", "access_token",
        "api_key", "%73ig", "Signature", "password",
    ]
)  # fmt: skip
_planted = st.one_of(
    st.builds("{0}://{1}:{2}@host/path".format, _schemes, _names, _passwords),
    st.builds("see {0}://{1}:{2}@host".format, _schemes, _names, _passwords),
    st.builds("https://host/t.parquet?v=1&{1}={2}".format, _schemes, _signatures, st.text(_SAFE, min_size=8)),
    st.builds("host=db user={1} password={2}".format, _schemes, _names, st.text(_SAFE, min_size=8)),
)


@given(_schemes, _names, _passwords)
def test_a_password_in_a_url_is_found_and_no_part_of_it_is_shown(scheme: str, user: str, password: str) -> None:
    text = f"cannot open {scheme}://{user}:{password}@bucket-1/images"
    assert find_secret(text)
    assert redact(text) == f"cannot open {scheme}://***@bucket-1/images"


@given(_signatures, st.text(_SAFE + "%-_.~", min_size=1))
def test_a_signed_query_is_found_and_its_other_parts_stay(name: str, value: str) -> None:
    text = f"https://host/a.parquet?v=1&{name}={value}&w=2"
    assert find_secret(text)
    assert redact(text) == f"https://host/a.parquet?v=1&{name}=***&w=2"


@given(_planted)
def test_nothing_is_left_to_find_in_what_is_shown(text: str) -> None:
    assert find_secret(text)
    assert find_secret(redact(text)) is None
    assert redact(redact(text)) == redact(text)
    assert "\n" not in str(refusal(text))


@pytest.mark.parametrize(
    "text",
    [
        "https://host:8080/a@2x.png",
        "https://[::1]:8080/a@2x.png",
        "https://host/t.parquet?download=true",
        "https://www.flickr.com/photos/63@N00/1",
        "abfs://container@account.dfs.core.windows.net/images",
        "hf://datasets/laion/relaion2B-en@main/part-0.parquet",
        "sqlite:///mlflow.db",
        "rl.rollout.max_tokens=160",
        "expected key=value, such as --set contour.tolerance=0.01",
        "tokens 70, key: value, mean=0.3",
    ],
)
def test_what_only_looks_like_a_secret_is_none(text: str) -> None:
    assert (find_secret(text), redact(text)) == (None, text)


@given(st.text())
def test_a_text_is_changed_exactly_where_it_holds_a_secret(text: str) -> None:
    assert (find_secret(text) is None) == (redact(text) == text)


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIA:S/CRET@b",
        "abfs://c:pw@a/x",
        "redis://:pw@h",
        """ftp://u:a"b'c@h""",
        "x?sig=1",
        "AKIAIOSFODNN7EXAMPLE",
        "hf_" + "a" * 34,
        "//u:p@h",
    ],
)
def test_kinds_of_secrets(text: str) -> None:
    assert refusal(text)
    assert refusal(redact(text)) is None


@pytest.mark.parametrize("piece", ["a", "a://:", "://", "x=", "eyJ", "@", "?a", "-eyJaaaaaaaaaaa."])
def test_a_long_text_takes_no_longer_than_its_length(piece: str) -> None:
    began = process_time()
    redact(piece * (200_000 // len(piece)))
    assert process_time() - began < 20


def _text_fields(model: type[Section] = Config, prefix: str = "") -> list[str]:
    """Dotted keys of every field that takes one text or path."""
    found = []
    for name, field in model.model_fields.items():
        if get_origin(field.annotation) in (dict, tuple):
            continue
        kinds = {field.annotation, *get_args(field.annotation)}
        if section := next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None):
            found += _text_fields(section, f"{prefix}{name}.")
        elif kinds & {str, Path}:
            found.append(prefix + name)
    return found


@pytest.mark.parametrize("key", _text_fields())
def test_no_text_field_takes_a_secret(tmp_path: Path, key: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("seed: 1\n")
    with pytest.raises(ConfigError) as error:
        load_config(file, [f"{key}=s3://AKIAKEY:hunter2hunter2@bucket/images"])
    assert "hunter2" not in str(error.value)
    assert f"--set {key}=s3://***@bucket/images: `{key}`: holds a user name or a password" in str(error.value)
    assert "export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in str(error.value)


def test_secrets_are_looked_for_inside_of_lists_and_mappings() -> None:
    with pytest.raises(ValidationError, match="holds a secret"):
        WebConfig(columns={"url": "x?sig=abcdef"})
    with pytest.raises(ValidationError, match="holds a secret") as error:
        Config.model_validate({"data": {"referring": [{"dataset": "refcoco", "root": "x?sig=abcdef"}]}})
    assert error.value.errors()[0]["loc"] == ("data", "referring", 0, "root")
    assert "abcdef" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "ingest:\n  sinks: s3://K:hunter2hunter2@b\n",
        "ingest:\n  sink: [s3://K:hunter2hunter2@b\n",
        "ingest:\n  workers: s3://K:hunter2hunter2@b\n",
        "s3://K:hunter2hunter2@b: 1\n",
        "ingest: {sink: {secret: hunter2hunter2}}\n",
    ],
)
def test_no_error_repeats_a_secret(tmp_path: Path, text: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(file)
    assert "hunter2" not in str(error.value)


def test_the_way_fits_the_address() -> None:
    assert "MLFLOW_TRACKING_URI" in str(refusal("postgresql+psycopg2://u:p@h/db"))
    assert "MLFLOW_TRACKING_USERNAME" in str(refusal("https://u:p@mlflow.example.org"))
    assert "FSSPEC_HTTP" in str(refusal("https://host/table.parquet?sig=abc"))
    assert "FSSPEC_SFTP_USERNAME" in str(refusal("sftp://u:p@h/images"))


@pytest.mark.parametrize("name", profiles())
def test_what_ships_holds_none(name: str) -> None:
    text = dump_yaml(load_profile(name))
    assert redact(text) == text
