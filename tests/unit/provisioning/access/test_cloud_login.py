"""Whose login reads a bucket: this computer's only where the stack file says so, and then it is handed on whole."""

from pathlib import Path
from typing import Any

import pytest

from core.errors import ConfigError
from provisioning.access import cloud_login
from provisioning.access.cloud_login import with_logins
from serving.sources.resolve import ListedFetch, resolve_sources
from serving.spec.models import ServingSpec

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalr", "AWS_SESSION_TOKEN": "session"}


@pytest.fixture(autouse=True)
def no_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", *KEYS):
        monkeypatch.delenv(name, raising=False)


def spec(kind: str, **source: str) -> ServingSpec:
    place = {"kind": kind, "url": f"{kind}://acme-models/base", "sha256": "ab" * 32, **source}
    values: Any = {"model": {"name": "base", "source": place}}
    return ServingSpec.model_validate(values)


def test_cloud_login_is_handed_if_the_stack_file_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    for credentials, handed in (("handed", KEYS), ("host", {})):
        source = with_logins(resolve_sources(spec("s3", credentials=credentials))).model
        assert isinstance(source, ListedFetch)
        assert {name: value.get_secret_value() for name, value in source.environment.items()} == handed


@pytest.mark.parametrize(("kind", "cloud"), [("s3", "aws"), ("gs", "gcp")])
def test_cloud_sdk_is_installed_before_it_is_used(kind: str, cloud: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make setup` brings no cloud's SDK, and this one ended in a traceback."""
    asked: list[str] = []
    monkeypatch.setattr(cloud_login, "ensure_sdk", asked.append)

    with pytest.raises(ConfigError):
        with_logins(resolve_sources(spec(kind, credentials="handed")))

    assert asked == [cloud]


@pytest.mark.parametrize(("kind", "cloud"), [("s3", "AWS"), ("gs", "Google Cloud")])
def test_missing_login_is_reported_only_if_needed(kind: str, cloud: str) -> None:
    sources = resolve_sources(spec(kind, credentials="handed"))
    with pytest.raises(ConfigError, match=f"serving.model.source.credentials: this computer has no login at {cloud}; "):
        with_logins(sources)
    assert with_logins(resolve_sources(spec(kind))).model == resolve_sources(spec(kind)).model
