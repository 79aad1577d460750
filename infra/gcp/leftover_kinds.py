"""The kinds of things that GCP may still have of ours, in the order in which they can be removed."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from infra.gcp.api import ask, everywhere, listed, pages, policy_of, rest
from infra.gcp.labels import ID, KEEP, STACK
from infra.gcp.names import ACCOUNT, owner_by_name
from infra.gcp.quota_project import QuotaProjectError
from infra.refusals import DeniedError, MissingError
from infra.things import Kind, Outcome, Thing

ARGUMENTS = {
    "instances": "instance",
    "disks": "disk",
    "addresses": "address",
    "resource_policies": "resource_policy",
    "subnetworks": "subnetwork",
}
"""How methods of Compute call one of what they list."""

OBJECTS_AT_ONCE, DELETES_AT_ONCE = 200, 8
"""How many objects of a bucket are removed between two looks at the clock, and how many side by side."""

STOPPED = ("STOPPED", "TERMINATED", "SUSPENDED")
STOPPED_NOTE = "stopped; GCP ends only what runs, so its disks and address cost until `up` or `down`"
"""On an instance that somebody stopped beside the stack, or that powered itself off."""


def _located(name: str, client: str, key: str, scope: str) -> Kind:
    """Return a kind that Compute has in zones or regions, found by label or name."""
    first, *more = key.split("_")
    collection, argument = first + "".join(map(str.title, more)), ARGUMENTS[key]

    def find(project: str, _lease_id: str | None) -> Iterator[Thing]:
        for place, each in everywhere(client, project, key):
            owner = _owner(str(each.name), dict(getattr(each, "labels", {})))
            if owner is not None:
                size = float(each.size_gb) if name == "disk" else None
                path = f"projects/{project}/{scope}s/{place}/{collection}/{each.name}"
                detail = {"project": project, scope: place, argument: each.name}
                if name == "disk":
                    detail["users"] = [str(user).partition("/v1/")[2] for user in each.users]
                note = STOPPED_NOTE if name == "instance" and each.status in STOPPED else ""
                yield Thing(name, path, place, **owner, size_gib=size, note=note, detail=detail)

    def remove(thing: Thing) -> Outcome | None:
        return _removal(client, {part: thing.detail[part] for part in ("project", scope, argument)}, scope)

    return Kind(name, find, remove)


def _global(name: str, client: str, argument: str) -> Kind:
    """Return a kind that Compute has once in a project, found by name."""

    def find(project: str, _lease_id: str | None) -> Iterator[Thing]:
        for each in listed(client, project=project):
            owner = owner_by_name(str(each.name))
            if owner is not None:
                path = f"projects/{project}/global/{argument}s/{each.name}"
                yield Thing(name, path, "global", **owner, detail={"project": project, argument: each.name})

    def remove(thing: Thing) -> Outcome | None:
        return _removal(client, thing.detail, "global")

    return Kind(name, find, remove)


def _removal(client: str, wanted: Mapping[str, Any], scope: str) -> Outcome | None:
    """Ask Compute to remove something, and return how to ask what became of the operation; None: it was gone."""
    try:
        operation = ask(client, "delete", **wanted).name
    except MissingError:
        return None
    place = {key: wanted[key] for key in ("project", scope) if key in wanted}

    def failure() -> str | None:
        seen = ask(f"{scope.title()}Operations", "get", operation=operation, **place)
        return "; ".join(str(each.message) for each in seen.error.errors) or None

    return failure


def _owner(name: str, labels: dict[str, str]) -> dict[str, Any] | None:
    """Return whose a thing is: by its labels, else by its name, as a root disk has it from its host."""
    if ID in labels:
        return {"stack": labels.get(STACK, "?"), "lease_id": labels[ID], "keep": KEEP in labels}
    return owner_by_name(name)


def _roles(project: str, _lease_id: str | None) -> Iterator[Thing]:
    for binding in policy_of(project).get("bindings", []):
        for member in binding["members"]:
            found = ACCOUNT.fullmatch(str(member).rpartition(":")[2].partition("?")[0])
            if found:
                path = f"{project}/{binding['role']}/{member}"
                detail = {"project": project, "role": binding["role"], "member": member}
                yield Thing("project role", path, "global", "?", found["id"], detail=detail)


def _remove_role(thing: Thing) -> None:
    project, role, member = (str(thing.detail[key]) for key in ("project", "role", "member"))
    policy = dict(policy_of(project))
    for binding in policy.get("bindings", []):
        if binding["role"] == role:
            binding["members"] = [each for each in binding["members"] if each != member]
    policy["bindings"] = [binding for binding in policy.get("bindings", []) if binding["members"]]
    rest("cloudresourcemanager", "POST", f"/v3/projects/{project}:setIamPolicy", {"policy": policy})


def _accounts(project: str, _lease_id: str | None) -> Iterator[Thing]:
    for each in pages("iam", f"/v1/projects/{project}/serviceAccounts", "accounts"):
        found = ACCOUNT.fullmatch(each["email"])
        if found:
            shown = owner_by_name(each.get("displayName", ""))
            stack = shown["stack"] if shown else "?"
            yield Thing("service account", each["name"], "global", stack, found["id"], detail={"project": project})


def _buckets(project: str, _lease_id: str | None) -> Iterator[Thing]:
    for each in pages("storage", "/storage/v1/b", "items", project=project):
        owner = _owner(each["name"], each.get("labels", {}))
        if owner is not None:
            yield Thing("bucket", each["name"], each["location"].lower(), **owner, detail={"project": project})


def _empty_bucket(thing: Thing) -> bool:
    """Remove one page of versions; return whether there are more."""
    from urllib.parse import quote

    def remove(each: Any) -> None:
        path = f"/storage/v1/b/{thing.id}/o/{quote(each['name'], safe='')}"
        _gone_is_fine(lambda: rest("storage", "DELETE", path, generation=str(each["generation"])))

    limit = str(OBJECTS_AT_ONCE)
    seen = rest("storage", "GET", f"/storage/v1/b/{thing.id}/o", versions="true", maxResults=limit)
    with ThreadPoolExecutor(DELETES_AT_ONCE) as pool:
        for each in [pool.submit(remove, each) for each in seen.get("items", [])]:
            each.result()
    return "nextPageToken" in seen


def _budgets(project: str, _lease_id: str | None) -> Iterator[Thing]:
    """Yield budgets; who may not see them has made none. Raises QuotaProjectError, which says nothing of budgets."""
    try:
        account = rest("cloudbilling", "GET", f"/v1/projects/{project}/billingInfo").get("billingAccountName")
        found = pages("billingbudgets", f"/v1/{account}/budgets", "budgets", counts_on=project) if account else []
    except QuotaProjectError:
        raise
    except DeniedError:
        return
    yield from _displayed("budget", found, project)


def _channels(project: str, _lease_id: str | None) -> Iterator[Thing]:
    """Yield where mails of budgets go; without the API there are none. Raises QuotaProjectError."""
    try:
        found = pages("monitoring", f"/v3/projects/{project}/notificationChannels", "notificationChannels")
    except QuotaProjectError:
        raise
    except DeniedError:
        return
    yield from _displayed("notification channel", found, project)


def _displayed(kind: str, found: list[Any], project: str) -> Iterator[Thing]:
    for each in found:
        owner = owner_by_name(each.get("displayName", ""))
        if owner is not None:
            yield Thing(kind, each["name"], "global", **owner, detail={"project": project})


def _by_path(service: str, version: str) -> Callable[[Thing], None]:
    def remove(thing: Thing) -> None:
        counts_on = str(thing.detail["project"])
        _gone_is_fine(lambda: rest(service, "DELETE", f"/{version}/{thing.id}", counts_on=counts_on))

    return remove


def _gone_is_fine(remove: Callable[[], object]) -> None:
    """Remove something that may have gone meanwhile."""
    try:
        remove()
    except MissingError:
        return


KINDS: tuple[Kind, ...] = (
    _located("instance", "Instances", "instances", "zone"),
    _located("disk", "Disks", "disks", "zone"),
    _located("address", "Addresses", "addresses", "region"),
    _located("schedule", "ResourcePolicies", "resource_policies", "region"),
    _global("firewall rule", "Firewalls", "firewall"),
    _located("subnet", "Subnetworks", "subnetworks", "region"),
    _global("network", "Networks", "network"),
    Kind("project role", _roles, _remove_role),
    Kind("service account", _accounts, _by_path("iam", "v1")),
    Kind("bucket", _buckets, _by_path("storage", "storage/v1/b"), empty=_empty_bucket),
    Kind("budget", _budgets, _by_path("billingbudgets", "v1")),
    Kind("notification channel", _channels, _by_path("monitoring", "v3")),
)
