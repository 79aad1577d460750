"""Calls to GCP by this project's commands: Compute through Google's client, other services by REST."""

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any
from urllib.parse import urlsplit

from core.errors import DeployError, UsageError
from core.waiting.timeouts import answer_within
from infra.automation.loading import no_garbage
from infra.clouds.gcp.api.quota_project import HEADER, counted, quota_project, quota_refusal
from infra.clouds.resources.denied_calls import DeniedError, MissingError

HOW = "`gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
LOGIN_HINT = f"log in again: {HOW}"
FIRST_LOGIN_HINT = f"log in: {HOW}"

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
    "vpcaccess": "https://vpcaccess.googleapis.com",
}
OVERRIDE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_"
"""Variables that set another endpoint for gcloud, such as one of Private Service Connect."""

READ_S = 8.0

AGAIN_S = 10.0
"""How long a call is retried while Compute is unavailable; the default of its client is ten minutes."""

CALL_S = 20.0
"""Longest time of one call, including slow name resolution, several addresses and retries."""

UNAUTHENTICATED, DENIED, MISSING, ERROR = 401, 403, 404, 400
"""HTTP statuses; every status from ERROR on is an error."""

DISABLED = re.compile(r"has not been used in project|SERVICE_DISABLED")
"""The text of a 403 if the API is not enabled in the project."""

CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
"""Where a kind's words meet: Google's module of `VpnTunnels` is `vpn_tunnels`."""

_LOCK = threading.Lock()


class DisabledError(DeniedError):
    """The API is not enabled in the project."""


@cache
def compute(kind: str) -> Any:
    """Return Google's client for one kind of Compute's resources, e.g. `Instances`."""
    from google.api_core.client_options import ClientOptions

    options = ClientOptions(api_endpoint=origin("compute"))
    with readable_errors(kind):
        return getattr(_library(kind), f"{kind}Client")(credentials=credentials(), client_options=options)


def _library(kind: str) -> Any:
    """Return the part of Google's library for Compute that has the client of one kind of resources."""
    package = "google.cloud.compute_v1"
    found = find_spec(package)
    if found is not None:
        # The package's own module imports the clients of all 129 kinds in 1.0 s. With an empty package in its place,
        # six kinds load in 0.6 s.
        sys.modules.setdefault(package, module_from_spec(found))
    with no_garbage():
        return import_module(f"{package}.services.{CAPITAL.sub('_', kind).lower()}")


def ask(kind: str, method: str, **arguments: Any) -> Any:
    """Call a method of Compute. Raises UsageError or DeployError, also as MissingError and DeniedError."""
    return _counted(kind, method, arguments.get("project"), arguments)


def listed(kind: str, **request: Any) -> list[Any]:
    """Return all resources of a kind that Compute lists in one place, from all pages."""
    return [each for page in _pages_of(kind, "list", request) for each in page.items]


def everywhere(kind: str, project: str, key: str, wanted: str = "") -> list[tuple[str, Any]]:
    """Return all resources of a kind in all zones and regions, each with its location.

    `key` names the list in the answer; `wanted` is a filter of the API.
    """
    request = {"project": project, **({"filter": wanted} if wanted else {})}
    scopes = [each for page in _pages_of(kind, "aggregated_list", request) for each in page.items.items()]
    return [(scope.rpartition("/")[2], each) for scope, content in scopes for each in getattr(content, key)]


def _pages_of(kind: str, method: str, request: dict[str, Any]) -> Iterator[Any]:
    """Yield the pages that a method of Compute lists, with one call a page."""
    what = f"{kind}.{method}"
    left = iter(_counted(kind, method, request.get("project"), {"request": request}).pages)
    while (page := _answer(lambda: next(left, None), what)) is not None:
        yield page


def _counted(kind: str, method: str, project: str | None, arguments: dict[str, Any]) -> Any:
    """Return the answer of a method of Compute. `project` is the quota project if the login has none."""
    client, what = compute(kind), f"{kind}.{method}"

    def call(quota: str | None) -> Any:
        named = {"metadata": ((HEADER, quota),)} if quota else {}
        return _answer(lambda: getattr(client, method)(**_patience(), **named, **arguments), what, project)

    # Images belong to other projects, which cannot be the quota project of this login.
    return counted(credentials(), None if kind == "Images" else project, call)


def _answer(call: Callable[[], Any], what: str, project: str | None = None) -> Any:
    """Return the answer of one call, within its time limit and with its errors in words."""
    with readable_errors(what, project):
        return answer_within(CALL_S, call, where=f"GCP {what}")


@cache
def _patience() -> dict[str, Any]:
    """Return the arguments for the timeout and the retries of a method of Compute."""
    from google.api_core.exceptions import DeadlineExceeded, ServiceUnavailable
    from google.api_core.retry import Retry, if_exception_type

    again = if_exception_type(DeadlineExceeded, ServiceUnavailable)
    return {"timeout": READ_S, "retry": Retry(predicate=again, initial=0.5, timeout=AGAIN_S)}


def rest(service: str, method: str, path: str, body: Any = None, *, counts_on: str | None = None, **params: str) -> Any:
    """Call another service; returns its JSON. Raises UsageError or DeployError.

    `counts_on`: the quota project of a personal login's call if the path names no project.
    """
    in_path = re.search(r"/projects/([^/:]+)", path)
    project = counts_on or (in_path[1] if in_path else params.get("project"))
    session, url = _session(), origin(service) + path

    def call(quota: str | None) -> Any:
        send = partial(session.request, method, url, json=body, params=params, timeout=READ_S)
        answer = _answer(lambda: send(headers={HEADER: quota} if quota else None), service)
        if answer.status_code >= ERROR:
            raise refused(answer.status_code, _message(answer), f"{service} {path.partition('?')[0]}", project)
        return answer.json() if answer.content else {}

    return counted(credentials(), project, call)


def _message(answer: Any) -> str:
    """Return the text of an error."""
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return str(answer.text[:200])


def pages(service: str, path: str, key: str, *, counts_on: str | None = None, **params: str) -> list[Any]:
    """Return everything that another service lists, from all pages."""
    found: list[Any] = []
    while True:
        answer = rest(service, "GET", path, counts_on=counts_on, **params)
        found += answer.get(key, [])
        if not answer.get("nextPageToken"):
            return found
        params["pageToken"] = answer["nextPageToken"]


def origin(service: str) -> str:
    """Return scheme and host of a service: Google's, or those of gcloud's variable."""
    parts = urlsplit(os.environ.get(f"{OVERRIDE}{service.upper()}") or HOSTS[service])
    return f"{parts.scheme}://{parts.netloc}"


@cache
def credentials() -> Any:
    """Return the login: Application Default Credentials."""
    import google.auth

    with _LOCK, readable_errors("login"):
        found, _project = google.auth.default(scopes=[SCOPE])
        return found


@cache
def _session() -> Any:
    from google.auth.transport.requests import AuthorizedSession

    return AuthorizedSession(credentials())  # type: ignore[no-untyped-call]


def provider_environment(project: str) -> dict[str, str]:
    """Return the variables that give the provider plugin `project` as quota project of a personal login without one.

    Asks GCP once whether the login may use it, because the plugin fails if not. Empty if it may not or need not.
    """
    try:
        if quota_project(credentials(), project) is None:
            return {}
        rest("cloudresourcemanager", "GET", f"/v3/projects/{project}")
        if quota_project(credentials(), project) is None:
            return {}
    except DeployError:
        return {}  # the plugin reports the same error
    return {"USER_PROJECT_OVERRIDE": "true", "GOOGLE_BILLING_PROJECT": project}


def refused(status: int, message: str, what: str, project: str | None = None) -> DeployError:
    """Return an error answer of GCP as one of this project's errors."""
    where = f"GCP {what}"
    if status == UNAUTHENTICATED:
        return UsageError("are not valid, or have expired", where="GCP credentials", hint=LOGIN_HINT)
    if status == DENIED:
        if about_quota := quota_refusal(message, where, project):
            return about_quota
        if DISABLED.search(message):
            return DisabledError(f"is not enabled ({message})", where=where, hint="enable the API in the project")
        return DeniedError(f"is not allowed ({message})", where=where, hint="ask for the permission")
    return (MissingError if status == MISSING else DeployError)(message, where=where)


@contextmanager
def readable_errors(what: str, project: str | None = None) -> Iterator[None]:
    """Turn errors of Google's libraries into UsageError (credentials) or DeployError (all others)."""
    import requests
    from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError, TransportError

    try:
        yield
    except DefaultCredentialsError as error:
        text = str(error).partition("\n")[0].partition(" To set up")[0].rstrip(". ")
        raise UsageError(text, where="GCP credentials", hint=FIRST_LOGIN_HINT) from None
    except RefreshError as error:
        reason = str(error.args[0]) if error.args else "refused"
        raise UsageError(f"have expired ({reason})", where="GCP credentials", hint=LOGIN_HINT) from None
    except TransportError as error:
        raise DeployError(str(error), where="GCP", hint="check the network") from None
    except GoogleAuthError as error:
        raise UsageError(str(error).rstrip(". "), where="GCP credentials", hint=LOGIN_HINT) from None
    except GoogleAPICallError as error:
        raise refused(int(error.code or ERROR), str(error.message), what, project) from None
    except (GoogleAPIError, requests.RequestException) as error:
        raise DeployError(str(error), where=f"GCP {what}", hint="check the network") from None


def principal(login: Any) -> str:
    """Return who is logged in, as far as the login shows it."""
    return str(getattr(login, "service_account_email", None) or getattr(login, "account", None) or "a personal login")


def policy_of(project: str) -> Mapping[str, Any]:
    """Return the IAM policy of a project."""
    path = f"/v3/projects/{project}:getIamPolicy"
    policy: Mapping[str, Any] = rest("cloudresourcemanager", "POST", path, {"options": {"requestedPolicyVersion": 3}})
    return policy
