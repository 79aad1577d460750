"""Data disks, and the schedules that start and stop instances."""

from tests.doubles.gcp.client import Gcp
from tests.doubles.gcp.kinds.network import URL
from tests.doubles.provider.kind import CloudError, Kind, Rules
from tests.doubles.provider.values import Properties


class Disk(Kind[Gcp]):
    token = "gcp:compute/disk:Disk"
    rules = Rules(immutable=frozenset({"name", "zone", "type", "project", "image", "snapshot"}), delete_first=True)

    def create(self, cloud: Gcp, inputs: Properties) -> str:
        path = f"projects/{cloud.project}/zones/{inputs['zone']}/disks/{inputs['name']}"
        body = {"type": inputs.get("type", "pd-standard"), "sizeGb": inputs["size"], "labels": inputs.get("labels", {})}
        cloud.insert(path, body | _speed(inputs), "Disk")
        return path

    def read(self, cloud: Gcp, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found(identity)
        return seen and {
            "name": seen["name"],
            "type": seen["type"],
            "size": int(seen["sizeGb"]),
            "provisionedThroughput": int(seen.get("provisionedThroughput", 0)),
            "provisionedIops": int(seen.get("provisionedIops", 0)),
            "labels": seen["labels"],
            "users": [URL + each for each in seen.get("users", [])],
            "selfLink": URL + identity,
        }

    def update(self, cloud: Gcp, identity: str, old: Properties, new: Properties) -> None:
        if new["size"] < old["size"]:
            raise CloudError(f"the plugin would replace the disk {identity} by an empty one: it cannot shrink")
        if new["size"] != old["size"]:
            cloud.change(identity, "resize", lambda body: body.update(sizeGb=new["size"]), "Disk")
        if _speed(new) != _speed(old):
            cloud.change(identity, "update", lambda body: body.update(_speed(new)), "Disk")
        if new.get("labels") != old.get("labels"):
            cloud.change(identity, "setLabels", lambda body: body.update(labels=new.get("labels", {})), "Disk")

    def delete(self, cloud: Gcp, identity: str, state: Properties) -> None:
        """Remove the disk; the plugin detaches it from its instances first."""
        disk = cloud.found(identity)
        for user in list(disk.get("users", [])) if disk else ():
            instance = cloud.store.resources[user]
            instance["disks"] = [each for each in instance["disks"] if each["source"] != identity]
            cloud.store.resources[identity]["users"].remove(user)
        cloud.delete(identity, "Disk")


def _speed(inputs: Properties) -> dict[str, int]:
    """Return the provisioned speed of a Hyperdisk in the form of the API."""
    return {key: inputs[key] for key in ("provisionedThroughput", "provisionedIops") if inputs.get(key) is not None}


class ResourcePolicy(Kind[Gcp]):
    token = "gcp:compute/resourcePolicy:ResourcePolicy"
    rules = Rules(immutable=frozenset({"name", "region", "project"}), delete_first=True)

    def create(self, cloud: Gcp, inputs: Properties) -> str:
        path = f"projects/{cloud.project}/regions/{inputs['region']}/resourcePolicies/{inputs['name']}"
        cloud.insert(path, {"instanceSchedulePolicy": inputs["instanceSchedulePolicy"]}, "ResourcePolicy")
        return path

    def read(self, cloud: Gcp, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found(identity)
        return seen and {
            "name": seen["name"],
            "instanceSchedulePolicy": seen["instanceSchedulePolicy"],
            "selfLink": URL + identity,
        }

    def update(self, cloud: Gcp, identity: str, old: Properties, new: Properties) -> None:
        policy = new["instanceSchedulePolicy"]
        cloud.change(identity, "patch", lambda body: body.update(instanceSchedulePolicy=policy), "ResourcePolicy")

    def delete(self, cloud: Gcp, identity: str, state: Properties) -> None:
        cloud.delete(identity, "ResourcePolicy")
