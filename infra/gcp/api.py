"""GCP as our own commands ask, beside the engine: Compute by Google's client, the rest by REST; refusals in words."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from core.errors import DeployError, UsageError
from core.patience import answer_within
from infra.refusals import DeniedError, MissingError

LOGIN_HINT = "log in anew: `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"

SCOPE = "https://www.googleapis.com/auth/cloud-platform"

HOSTS = {
    "compute": "https://compute.googleapis.com",
    "storage": "https://storage.googleapis.com",
    "iam": "https://iam.googleapis.com",
    "cloudresourcemanager": "https://cloudresourcemanager.googleapis.com",
    "serviceusage": "https://serviceusage.googleapis.com",
    "cloudbilling": "https://cloudbilling.googleapis.com",
    "billingbudgets": "https://billingbudgets.googleapis.com",
    "monitoring": "https://monitoring.googleapis.com",
}
OVERRIDE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_"
"""Variables with which gcloud is told of another endpoint, such as one of Private Service Connect."""

READ_S = 8.0

AGAIN_S = 10.0
"""How long Compute is asked again while it says that it is not available; by itself its client takes ten minutes."""

CALL_S = 20.0
"""How long one call may take with all that its client does: names that do not resolve, many addresses, attempts."""

UNAUTHENTICATED, DENIED, MISSING, ERROR = 401, 403, 404, 400
"""Statuses of HTTP; every status from ERROR on is a refusal."""

_LOCK = threading.Lock()


@cache
def compute(kind: str) -> Any:
    """Return Google's client for one kind of Compute's resources, e.g. `Instances`."""
    from google.api_core.client_options import ClientOptions
    from google.cloud import compute_v1

    options = ClientOptions(api_endpoint=origin("compute"))
    with told(kind):
        return getattr(compute_v1, f"{kind}Client")(credentials=credentials(), client_options=options)


def ask(kind: str, method: str, **arguments: Any) -> Any:
    """Call a method of Compute. Raises UsageError or DeployError, MissingError and DeniedError among them."""
    client = compute(kind)
    return _answer(lambda: getattr(client, method)(**_patience(), **arguments), f"{kind}.{method}")


def listed(kind: str, **request: Any) -> list[Any]:
    """Return everything that Compute lists of a kind in one place, over all pages."""
    return [each for page in _pages_of(kind, "list", request) for each in page.items]


def everywhere(kind: str, project: str, key: str, wanted: str = "") -> list[tuple[str, Any]]:
    """Return everything that Compute has of a kind in all zones and regions, each with where it is.

    `key` names the list in the answer; `wanted` is a filter of the API.
    """
    request = {"project": project, **({"filter": wanted} if wanted else {})}
    scopes = [each for page in _pages_of(kind, "aggregated_list", request) for each in page.items.items()]
    return [(scope.rpartition("/")[2], each) for scope, content in scopes for each in getattr(content, key)]


def _pages_of(kind: str, method: str, request: dict[str, Any]) -> Iterator[Any]:
    """Yield the pages that a method of Compute lists, each asked for by itself."""
    client, what = compute(kind), f"{kind}.{method}"
    left = iter(_answer(lambda: getattr(client, method)(request=request, **_patience()), what).pages)
    while (page := _answer(lambda: next(left, None), what)) is not None:
        yield page


def _answer(call: Callable[[], Any], what: str) -> Any:
    """Return what one call answers, in time and with its errors in words."""
    with told(what):
        return answer_within(CALL_S, call, where=f"GCP {what}")


@cache
def _patience() -> dict[str, Any]:
    """Return the arguments that say how long a method of Compute waits, and how long it asks again."""
    from google.api_core.exceptions import DeadlineExceeded, ServiceUnavailable
    from google.api_core.retry import Retry, if_exception_type

    again = if_exception_type(DeadlineExceeded, ServiceUnavailable)
    return {"timeout": READ_S, "retry": Retry(predicate=again, initial=0.5, timeout=AGAIN_S)}


def rest(service: str, method: str, path: str, body: Any = None, **params: str) -> Any:
    """Call another service; returns its JSON. Raises UsageError or DeployError."""
    session, url = _session(), origin(service) + path
    answer = _answer(lambda: session.request(method, url, json=body, params=params, timeout=READ_S), service)
    if answer.status_code >= ERROR:
        try:
            refusal = answer.json()["error"]
            message = str(refusal["message"])
        except (ValueError, KeyError, TypeError):
            message = answer.text[:200]
        raise refused(answer.status_code, message, f"{service} {path.partition('?')[0]}")
    return answer.json() if answer.content else {}


def pages(service: str, path: str, key: str, **params: str) -> list[Any]:
    """Return everything that another service lists, over all its pages."""
    found: list[Any] = []
    while True:
        answer = rest(service, "GET", path, **params)
        found += answer.get(key, [])
        if not answer.get("nextPageToken"):
            return found
        params["pageToken"] = answer["nextPageToken"]


def origin(service: str) -> str:
    """Return scheme and host of a service: Google's, or the one that gcloud's variable names."""
    parts = urlsplit(os.environ.get(f"{OVERRIDE}{service.upper()}") or HOSTS[service])
    return f"{parts.scheme}://{parts.netloc}"


@cache
def credentials() -> Any:
    """Return the login: from where every tool of Google looks for it."""
    import google.auth

    with _LOCK, told("login"):
        found, _project = google.auth.default(scopes=[SCOPE])
        return found


@cache
def _session() -> Any:
    from google.auth.transport.requests import AuthorizedSession

    return AuthorizedSession(credentials())  # type: ignore[no-untyped-call]


def refused(status: int, message: str, what: str) -> DeployError:
    """Return an answer of GCP as one of our errors."""
    where = f"GCP {what}"
    if status == UNAUTHENTICATED:
        return UsageError("are not valid, or have expired", where="GCP credentials", hint=LOGIN_HINT)
    if status == DENIED:
        return DeniedError(f"is not allowed ({message})", where=where, hint="ask for the permission or enable the API")
    return (MissingError if status == MISSING else DeployError)(message, where=where)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn what Google's libraries raise into our errors: UsageError for credentials, DeployError for the rest."""
    import requests
    from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError, TransportError

    try:
        yield
    except DefaultCredentialsError as error:
        text = str(error).partition("\n")[0].partition(" To set up")[0]
        raise UsageError(text, where="GCP credentials", hint=LOGIN_HINT) from None
    except RefreshError as error:
        reason = str(error.args[0]) if error.args else "refused"
        raise UsageError(f"have expired ({reason})", where="GCP credentials", hint=LOGIN_HINT) from None
    except TransportError as error:
        raise DeployError(str(error), where="GCP", hint="check the network") from None
    except GoogleAuthError as error:
        raise UsageError(str(error), where="GCP credentials", hint=LOGIN_HINT) from None
    except GoogleAPICallError as error:
        raise refused(int(error.code or ERROR), str(error.message), what) from None
    except (GoogleAPIError, requests.RequestException) as error:
        raise DeployError(str(error), where=f"GCP {what}", hint="check the network") from None


def principal(login: Any) -> str:
    """Return who is logged in, as far as the login tells."""
    return str(getattr(login, "service_account_email", None) or getattr(login, "account", None) or "a personal login")


def policy_of(project: str) -> Mapping[str, Any]:
    """Return who may do what in a project."""
    path = f"/v3/projects/{project}:getIamPolicy"
    policy: Mapping[str, Any] = rest("cloudresourcemanager", "POST", path, {"options": {"requestedPolicyVersion": 3}})
    return policy
