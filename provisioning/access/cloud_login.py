"""This machine's cloud login, added to the sources that are read with it (`credentials: handed`).

Writes nothing: the login goes into the environment of the fetch alone.
"""

from dataclasses import replace
from typing import TypeVar

from pydantic import SecretStr

from core.errors import ConfigError
from infra.automation.sdk import ensure_sdk
from serving.sources.resolve import ListedFetch, ResolvedModel, ResolvedSources

Resolved = TypeVar("Resolved", bound=ResolvedModel)


def with_logins(sources: ResolvedSources) -> ResolvedSources:
    """Return the sources, each with the login that reading it needs. Raises ConfigError if there is none."""
    return replace(
        sources,
        model=with_login(sources.model, key="serving.model.source"),
        adapters=tuple(
            with_login(source, key=f"serving.adapters[{index}].source") for index, source in enumerate(sources.adapters)
        ),
    )


def with_login(source: Resolved, *, key: str) -> Resolved:
    """Return one source with the login that reading it needs; `key` names it in messages."""
    if not isinstance(source, ListedFetch) or not source.by_login:
        return source
    where = f"{key}.credentials"
    return replace(source, environment=_amazon(where) if source.url.startswith("s3://") else _google(where))


def _amazon(where: str) -> dict[str, SecretStr]:
    ensure_sdk("aws")
    import boto3  # only where a bucket is read with this computer's login

    found = boto3.Session().get_credentials()
    if found is None:
        raise ConfigError(
            "this computer has no login at AWS", where=where, hint="run aws configure, or write credentials: host"
        )
    frozen = found.get_frozen_credentials()
    keys = {
        "AWS_ACCESS_KEY_ID": frozen.access_key,
        "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
        "AWS_SESSION_TOKEN": frozen.token,
    }
    return {name: SecretStr(value) for name, value in keys.items() if value}


def _google(where: str) -> dict[str, SecretStr]:
    ensure_sdk("gcp")
    import google.auth
    import google.auth.exceptions
    from google.auth.transport.requests import Request

    try:
        found, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/devstorage.read_only"])
        found.refresh(Request())  # type: ignore[no-untyped-call]
    except google.auth.exceptions.GoogleAuthError:
        hint = "run gcloud auth application-default login, or write credentials: host"
        raise ConfigError("this computer has no login at Google Cloud", where=where, hint=hint) from None
    return {"GOOGLE_OAUTH_ACCESS_TOKEN": SecretStr(str(found.token))}
