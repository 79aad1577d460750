"""The quota project of a call (header `x-goog-user-project`), for logins without one.

A service account's calls count on its own project. A personal login (`gcloud auth application-default login`) has no
quota project unless someone set one, and several APIs refuse such calls: they get the stack's project. If the login
may not use it (`serviceusage.services.use`), the call is repeated without, and reaches the APIs that need none.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from infra.clouds.resources.denied_calls import DeniedError

Answer = TypeVar("Answer")

HEADER = "x-goog-user-project"

SET_COMMAND = "gcloud auth application-default set-quota-project {}"
USE_ROLE, USE_PERMISSION = "roles/serviceusage.serviceUsageConsumer", "serviceusage.services.use"

MISSES_PROJECT = re.compile(r"requires a quota project|without a quota project", re.IGNORECASE)
MAY_NOT_USE = re.compile(r"serviceusage\.services\.use|USER_PROJECT_DENIED|required permission to use project")

PERSONAL = ("google.oauth2.credentials", "google.auth.external_account_authorized_user")
"""Modules of Google's library for personal logins."""

_not_usable: set[str] = set()
"""Projects that the login may not use as quota project."""


class QuotaProjectError(DeniedError):
    """The call has no quota project, or one that the login may not use. It says nothing about the resource."""


def quota_refusal(message: str, where: str, project: str | None) -> QuotaProjectError | None:
    """Return a 403 of GCP as an error about the quota project; None if it has another cause."""
    named = project or "PROJECT"
    if MAY_NOT_USE.search(message):
        what = f"this login lacks {USE_PERMISSION} on project {named}"
        hint = f"ask for {USE_ROLE}, or name a project that you may use: `{SET_COMMAND.format('PROJECT')}`"
    elif MISSES_PROJECT.search(message):
        what = "the call needs a quota project, and this login has none"
        hint = f"run `{SET_COMMAND.format(named)}`"
    else:
        return None
    return QuotaProjectError(what, where=where, hint=hint)


def names_no_project(login: Any) -> bool:
    """Return whether a login is a person's and has no quota project (`set-quota-project`, environment)."""
    is_person = type(login).__module__ in PERSONAL or bool(getattr(login, "is_user", False))
    return is_person and not getattr(login, "quota_project_id", None)


def quota_project(login: Any, project: str | None) -> str | None:
    """Return the quota project for a call; None if it needs none, or the login may not use it."""
    return project if project and project not in _not_usable and names_no_project(login) else None


def counted(login: Any, project: str | None, call: Callable[[str | None], Answer]) -> Answer:
    """Return the result of `call` with the quota project; without it if the login may not use it."""
    named = quota_project(login, project)
    try:
        return call(named)
    except QuotaProjectError as refusal:
        if named is None:
            raise
        _not_usable.add(named)
        try:
            return call(None)
        except QuotaProjectError:
            raise refusal from None  # this error names the missing permission


def forget() -> None:
    """Forget the refused projects: another login may use them."""
    _not_usable.clear()
