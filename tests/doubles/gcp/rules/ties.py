"""Dependencies: resources that are made and removed with others, and those that others block."""

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from tests.doubles.gcp.refusal import Refusal
from tests.doubles.gcp.store import parts, place, region_of

if TYPE_CHECKING:
    from tests.doubles.gcp.store import Store

Body = dict[str, Any]

GOOGLES_TIME = timezone(timedelta(hours=-8))


def settle(store: "Store", path: str, body: Body) -> None:
    """Change other resources as the creation of one does."""
    collection, name = parts(path)
    if collection == "addresses":
        body["address"] = f"198.51.100.{int(body['id']) % 250 + 1}"
        body["users"] = []
    if collection != "instances":
        return
    body["status"] = "RUNNING"
    write_moments(body)
    for interface in body["networkInterfaces"]:
        interface["networkIP"] = f"10.83.0.{int(body['id']) % 250 + 2}"
    for disk in body["disks"]:
        if disk.get("boot"):
            params = disk["initializeParams"]
            disk["diskSizeGb"] = params["diskSizeGb"]
            disk["source"] = path.replace("/instances/", "/disks/")
            store.resources[disk["source"]] = {
                "name": name,
                "id": f"{body['id']}0",
                "sizeGb": params["diskSizeGb"],
                "type": params["diskType"],
                "labels": params.get("labels", {}),
                "users": [path],
            }
        else:
            store.resources[disk["source"]].setdefault("users", []).append(path)
    for address in _addresses(store, path, body):
        address["users"] = [path]


def write_moments(body: Body) -> None:
    """Write the end of an instance as the API writes times, in whatever notation it was given."""
    ends_at = body["scheduling"].get("terminationTime")
    if ends_at:
        moment = datetime.fromisoformat(ends_at).astimezone(GOOGLES_TIME)
        body["scheduling"] = body["scheduling"] | {"terminationTime": moment.isoformat(timespec="milliseconds")}


def loosen(store: "Store", path: str, body: Body) -> None:
    """Change other resources as the removal of one does."""
    if parts(path)[0] != "instances":
        return
    for disk in body["disks"]:
        if disk.get("autoDelete"):
            store.resources.pop(disk["source"], None)
        elif disk["source"] in store.resources:
            store.resources[disk["source"]]["users"].remove(path)
    for address in _addresses(store, path, body):
        address["users"] = []


def refuse_deletion(store: "Store", path: str, body: Body) -> None:
    """Raise Refusal while another resource needs this one."""
    collection = parts(path)[0]
    users = [*body.get("users", []), *_users(store, collection, path)]
    if users:
        noun = {"networks": "network", "subnetworks": "subnetwork", "disks": "disk"}.get(collection, collection[:-1])
        message = f"The {noun} resource '{path}' is already being used by '{users[0]}'"
        raise Refusal(400, "resourceInUseByAnotherResource", message)
    if collection == "b" and any(key.startswith(f"{path}/o/") for key in store.resources):
        raise Refusal(409, "conflict", "The bucket you tried to delete is not empty.")


def _users(store: "Store", collection: str, path: str) -> list[str]:
    if collection == "networks":
        return [each for each, body in store.resources.items() if body.get("network") == path]
    if collection == "subnetworks":
        found = store.of("instances").items()
        return [key for key, body in found if path in {each["subnetwork"] for each in body["networkInterfaces"]}]
    if collection == "resourcePolicies":
        return [key for key, body in store.of("instances").items() if path in body.get("resourcePolicies", [])]
    return []


def _addresses(store: "Store", path: str, body: Body) -> list[Body]:
    """Return the addresses that an instance holds."""
    held = {access["natIP"] for each in body["networkInterfaces"] for access in each.get("accessConfigs") or []}
    found = store.of("addresses").items()
    return [each for key, each in found if each["address"] in held and place(key) == region_of(path)]
