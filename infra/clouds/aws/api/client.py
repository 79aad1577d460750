"""Calls to AWS by this project's commands, not by the Pulumi engine: a client per region, errors in plain words."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, TypeVar

from core.errors import ConfigError, DeployError, UsageError
from core.reading.rules import masked
from core.waiting.timeouts import answer_within
from infra.clouds.aws.api.permissions import actions_of
from infra.clouds.aws.api.refused_login import CREDENTIALS, FIRST_LOG_IN, LOG_IN, refusal_of
from infra.clouds.resources.denied_calls import DeniedError, MissingError

DENIED_CODES = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "403")
"""S3 answers `head_bucket` without a body, so its errors have an HTTP status instead of a code."""

HOME = "us-east-1"
"""A region that every account has enabled: a call that another region refuses is repeated here."""

ENABLED = ("opt-in-not-required", "opted-in")
"""The opt-in statuses of a region that the account may use."""

_SESSION_LOCK = threading.Lock()
"""Only one thread at a time may use a session; many threads may share a client."""

CONNECT_S, READ_S, ATTEMPTS = 3, 8, 2

CALL_S = 20.0
"""Longest time of one call, including slow name resolution, several addresses and retries."""

Answer = TypeVar("Answer")


class UntaggedError(DeployError):
    """The resource exists and has no tags."""


class UnknownLoginError(UsageError):
    """AWS does not know the login in this region. It may know it in another region."""


MISSING_CODES: dict[str, type[DeployError]] = {
    "NoSuchBucket": MissingError,
    "404": MissingError,
    "NoSuchTagSet": UntaggedError,
    "NoSuchEntity": MissingError,
    "NoSuchResourceException": MissingError,
    "InvalidAMIID.NotFound": MissingError,
    "NotFoundException": MissingError,
}


def client(service: str, region: str) -> Any:
    """Return a client. Its credentials come from the default chain of the AWS SDK."""
    # The lock also protects the cache: else each concurrent thread creates a client, 70 ms each.
    with readable_errors(), _SESSION_LOCK:
        return _client(service, region)


@cache
def _client(service: str, region: str) -> Any:
    from botocore.config import Config

    settings = Config(
        connect_timeout=CONNECT_S, read_timeout=READ_S, retries={"total_max_attempts": ATTEMPTS, "mode": "standard"}
    )
    session = _session()
    _log_in(session)
    return session.client(service, region_name=region, config=settings)


@cache
def _session() -> Any:
    """Return the shared session: each session loads its own copy of the service models that it uses."""
    import boto3

    return boto3.Session()


def _log_in(session: Any) -> None:
    """Get the credentials. Raises UsageError if this person may not use the profile's role or SSO account."""
    from botocore.exceptions import ClientError

    login = session.get_credentials()
    if login is None:
        return
    try:
        login.get_frozen_credentials()  # may prompt for an MFA code, which can take longer than a call may
    except ClientError as error:
        answer = error.response["Error"]
        if refusal_of(str(answer["Code"]), "", None):
            raise
        what = f"{error.operation_name} is refused ({answer.get('Message', answer['Code'])})"
        raise UsageError(what, where=CREDENTIALS, hint="take another profile, e.g. set AWS_PROFILE") from None


@contextmanager
def readable_errors(service: str = "") -> Iterator[None]:
    """Turn errors of AWS into UsageError (credentials) or DeployError (all others)."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        CredentialRetrievalError,
        LoginError,
        NoCredentialsError,
        PartialCredentialsError,
        ProfileNotFound,
        RefreshWithMFAUnsupportedError,
        SSOError,
        TokenRetrievalError,
    )
    from botocore.parsers import ResponseParserError

    try:
        yield
    except NoCredentialsError:
        raise UsageError("none found", where=CREDENTIALS, hint=FIRST_LOG_IN) from None
    except (SSOError, TokenRetrievalError) as error:
        what = f"the SSO session has expired, or there is none ({error})"
        raise UsageError(what, where=CREDENTIALS, hint="`aws sso login`, with --profile where you use one") from None
    except LoginError as error:
        raise UsageError(str(error), where=CREDENTIALS, hint="`aws login`") from None
    except CredentialRetrievalError as error:
        what = f"the program that a profile names for them failed ({masked(' '.join(str(error).split()))})"
        raise UsageError(what, where=CREDENTIALS, hint="see credential_process in ~/.aws/config") from None
    except (PartialCredentialsError, ProfileNotFound, RefreshWithMFAUnsupportedError) as error:
        raise UsageError(str(error), where=CREDENTIALS, hint=LOG_IN) from None
    except ClientError as error:
        raise _error_of(error, service) from None
    except ResponseParserError:
        what = "got an answer that is not from AWS, perhaps an HTML page"
        raise DeployError(what, where=f"AWS {service}".strip(), hint="check for a proxy, then try again") from None
    except BotoCoreError as error:
        raise DeployError(str(error), where="AWS", hint="check region, profile and network") from None


def _error_of(error: Any, service: str) -> DeployError:
    """Return an error of AWS as one of this project's errors."""
    answer = error.response["Error"]
    code, message = str(answer["Code"]), str(answer.get("Message", ""))
    refusal = refusal_of(code, message, _clock_off_s(error.response))
    if refusal is not None:
        kind: type[DeployError] = UnknownLoginError if refusal.may_be_region else UsageError
        return kind(refusal.what, where=refusal.where, hint=refusal.hint)
    where = f"AWS {error.operation_name}"
    if code in DENIED_CODES:
        wanted = " and ".join(actions_of(service, error.operation_name)) if service else "the permission"
        return DeniedError(f"is not allowed ({message})", where=where, hint=f"ask for {wanted}, or use another login")
    return MISSING_CODES.get(code, DeployError)(f"{code}: {message}", where=where)


def _clock_off_s(response: Mapping[str, Any]) -> float | None:
    """Return how many seconds this computer's clock is ahead of the server's; None if the answer has no date."""
    date = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return (datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()
    except (TypeError, ValueError):
        return None


def call(service: str, region: str, method: str, **arguments: Any) -> Any:
    """Call the API.

    Raises UsageError, ConfigError (a region that the account has not enabled) or DeployError, also as its subclasses
    MissingError, UntaggedError and DeniedError.
    """

    def ask() -> Any:
        asked = client(service, region)
        with readable_errors(service):
            return answer_within(CALL_S, lambda: getattr(asked, method)(**arguments), where=f"AWS {service} {method}")

    return _in_region(region, ask)


def pages(service: str, region: str, method: str, key: str, **arguments: Any) -> list[Any]:
    """Return everything that a method lists, from all pages. Raises the errors of `call`."""

    def ask() -> list[Any]:
        asked = client(service, region)
        found: list[Any] = []
        with readable_errors(service):
            where = f"AWS {service} {method}"
            if not asked.can_paginate(method):
                return list(answer_within(CALL_S, lambda: getattr(asked, method)(**arguments), where=where)[key])
            left = iter(asked.get_paginator(method).paginate(**arguments))
            while (page := answer_within(CALL_S, lambda: next(left, None), where=where)) is not None:
                found += page.get(key, [])
        return found

    return _in_region(region, ask)


def _in_region(region: str, ask: Callable[[], Answer]) -> Answer:
    """Return the result of `ask`. Raises ConfigError if only this region refuses the login."""
    try:
        return ask()
    except UnknownLoginError as error:
        trouble = _trouble_of(region, is_account=error.where != CREDENTIALS)
        if trouble is None:
            raise
        raise trouble from None


def _trouble_of(region: str, *, is_account: bool) -> ConfigError | None:
    """Return the error of a region that refuses a login; None if AWS refuses the login everywhere.

    `is_account`: AWS knows the login and says that its account may not use the service.
    """
    if region == HOME:
        return None
    try:
        call("sts", HOME, "get_caller_identity")
        state = opt_in_state(region)
    except UsageError:
        return None
    except DeployError:  # The login may not list regions. HOME accepts it, so the region is the cause.
        return None if is_account else not_enabled(region)
    if state not in ENABLED:
        return not_enabled(region)
    what = f"{region} refuses the login, and {HOME} accepts it"
    hint = "use the region's own STS: set AWS_STS_REGIONAL_ENDPOINTS=regional and log in again"
    return None if is_account else ConfigError(what, where="region", hint=hint)


def opt_in_state(region: str) -> str | None:
    """Return the account's opt-in status of a region; None for a region that does not exist."""
    names = [{"Name": "region-name", "Values": [region]}]
    seen = call("ec2", HOME, "describe_regions", AllRegions=True, Filters=names)["Regions"]
    return str(seen[0].get("OptInStatus", ENABLED[0])) if seen else None


def not_enabled(region: str) -> ConfigError:
    """Return the error for an existing region that the account may not use."""
    hint = f"`aws account enable-region --region-name {region}` and wait some minutes, or take another region"
    return ConfigError(f"{region} is not enabled in this account", where="region", hint=hint)
