"""AWS as our own commands ask it, beside the engine: clients of one region, refusals in words."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from core.errors import DeployError, UsageError
from core.patience import answer_within
from infra.refusals import DeniedError, MissingError

CREDENTIAL_CODES = {
    "ExpiredToken": "have expired",
    "ExpiredTokenException": "have expired",
    "RequestExpired": "have expired, or this computer's clock is wrong",
    "InvalidClientTokenId": "are not valid",
    "UnrecognizedClientException": "are not valid",
    "AuthFailure": "are not valid",
    "SignatureDoesNotMatch": "do not belong together",
}
LOGIN_HINT = "log in anew, e.g. `aws sso login`, or set AWS_PROFILE"

DENIED_CODES = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")


_SESSION_LOCK = threading.Lock()
"""A session may be used by one thread at a time; its clients by many."""

CONNECT_S, READ_S, ATTEMPTS = 3, 8, 2

CALL_S = 20.0
"""How long one call may take with all that its client does: names that do not resolve, many addresses, attempts."""


class UntaggedError(DeployError):
    """It is there, and has no tags."""


MISSING_CODES: dict[str, type[DeployError]] = {"NoSuchBucket": MissingError, "NoSuchTagSet": UntaggedError}


@cache
def client(service: str, region: str) -> Any:
    """Return a client; credentials come from where every AWS tool looks for them."""
    from botocore.config import Config

    settings = Config(
        connect_timeout=CONNECT_S, read_timeout=READ_S, retries={"total_max_attempts": ATTEMPTS, "mode": "standard"}
    )
    with told(), _SESSION_LOCK:
        session = _session()
        login = session.get_credentials()
        if login is not None:
            login.get_frozen_credentials()  # may ask a person for a code, who needs longer than a call may take
        return session.client(service, region_name=region, config=settings)


@cache
def _session() -> Any:
    """Return the one session: each has its own copy of the models of all services that it was asked for."""
    import boto3

    return boto3.Session()


@contextmanager
def told() -> Iterator[None]:
    """Turn what AWS answers into our errors: UsageError for credentials, DeployError for the rest."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
        ProfileNotFound,
        SSOError,
        TokenRetrievalError,
    )

    try:
        yield
    except NoCredentialsError:
        raise UsageError("there are none", where="AWS credentials", hint=LOGIN_HINT) from None
    except (PartialCredentialsError, ProfileNotFound, SSOError, TokenRetrievalError) as error:
        raise UsageError(str(error), where="AWS credentials", hint=LOGIN_HINT) from None
    except ClientError as error:
        answer = error.response["Error"]
        told_code, message = str(answer["Code"]), answer.get("Message", "")
        if told_code in CREDENTIAL_CODES:
            raise UsageError(CREDENTIAL_CODES[told_code], where="AWS credentials", hint=LOGIN_HINT) from None
        where = f"AWS {error.operation_name}"
        if told_code in DENIED_CODES:
            hint = "ask for the permission, or use another login"
            raise DeniedError(f"is not allowed ({message})", where=where, hint=hint) from None
        kind = MISSING_CODES.get(told_code, DeployError)
        raise kind(f"{told_code}: {message}", where=where) from None
    except BotoCoreError as error:
        raise DeployError(str(error), where="AWS", hint="check region, profile and network") from None


def call(service: str, region: str, method: str, **arguments: Any) -> Any:
    """Call the API. Raises UsageError or DeployError, MissingError, UntaggedError and DeniedError among them."""
    asked = client(service, region)
    with told():
        return answer_within(CALL_S, lambda: getattr(asked, method)(**arguments), where=f"AWS {service} {method}")


def pages(service: str, region: str, method: str, key: str, **arguments: Any) -> list[Any]:
    """Return everything that a method lists, over all its pages. Raises UsageError or DeployError."""
    asked = client(service, region)
    if not asked.can_paginate(method):
        return list(call(service, region, method, **arguments)[key])
    found: list[Any] = []
    where = f"AWS {service} {method}"
    with told():
        left = iter(asked.get_paginator(method).paginate(**arguments))
        while (page := answer_within(CALL_S, lambda: next(left, None), where=where)) is not None:
            found += page.get(key, [])
    return found
