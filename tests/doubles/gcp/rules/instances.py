"""Instances: types by zone, GPUs and their scheduling, spot, lifetimes, disks, networks, metadata."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.doubles.gcp import seed
from tests.doubles.gcp.refusal import Refusal, invalid, missing
from tests.doubles.gcp.rules.disks import check_for_machine
from tests.doubles.gcp.store import place, region_of

if TYPE_CHECKING:
    from tests.doubles.gcp.store import Store

Body = dict[str, Any]

LIMITS = {"maxRunDuration", "terminationTime"}
LIFE_S = (30, 120 * 24 * 3600)
METADATA_BYTES = 262144
SPOT_ONLY = ("a3-highgpu-1g", "a3-highgpu-2g", "a3-highgpu-4g")


def check(store: "Store", path: str, body: Body) -> None:
    """Raise Refusal for an instance that GCP does not make."""
    zone, machine_type = place(path), type_of(body)
    if zone not in seed.zone_names():
        raise missing(f"projects/{seed.PROJECT}/zones/{zone}")
    if zone not in seed.zones_of_type(machine_type):
        message = f"Machine type with name '{machine_type}' does not exist in zone '{zone}'."
        raise Refusal(400, "invalid", f"Invalid value for field 'resource.machineType': {message}")
    _check_accelerators(zone, machine_type, body)
    _check_scheduling(machine_type, body)
    _check_disks(store, zone, machine_type, body)
    _check_network(store, path, body)
    for account in body["serviceAccounts"]:
        if f"projects/{seed.PROJECT}/serviceAccounts/{account['email']}" not in store.resources:
            raise Refusal(400, "badRequest", f"The user does not have access to service account '{account['email']}'.")
    for item in body["metadata"]["items"]:
        if len(item["value"].encode()) > METADATA_BYTES:
            raise invalid(f"resource.metadata.items['{item['key']}']", "the value is too long")


def type_of(body: Body) -> str:
    """Return the machine type of an instance."""
    return str(body["machineType"].rpartition("/")[2])


def is_spot(body: Body) -> bool:
    """Return whether an instance is one of the spot market."""
    return bool(body["scheduling"].get("provisioningModel") == "SPOT")


def gpus(body: Body) -> tuple[str, int]:
    """Return which GPUs an instance has, and how many."""
    machine_type = type_of(body)
    for each in body.get("guestAccelerators") or []:
        return str(each["acceleratorType"].rpartition("/")[2]), int(each["acceleratorCount"])
    return seed.BUILT_IN.get(machine_type.partition("-")[0], ""), seed.gpus_of(machine_type)


def _check_accelerators(zone: str, machine_type: str, body: Body) -> None:
    for each in body.get("guestAccelerators") or []:
        kind = each["acceleratorType"].rpartition("/")[2]
        if kind != seed.T4 or not machine_type.startswith("n1-"):
            raise Refusal(400, "badRequest", f"[{machine_type}] features and [accelerator: {kind}] are not compatible.")
        if zone not in seed.T4_ZONES:
            raise missing(f"projects/{seed.PROJECT}/zones/{zone}/acceleratorTypes/{kind}")


def _check_scheduling(machine_type: str, body: Body) -> None:
    scheduling, spot = body["scheduling"], is_spot(body)
    migrates = scheduling.get("onHostMaintenance", "MIGRATE") == "MIGRATE"
    if gpus(body)[1] and migrates:
        raise Refusal(400, "badRequest", "Instances with guest accelerators do not support live migration.")
    if (spot or scheduling.get("preemptible")) and (migrates or scheduling.get("automaticRestart", True)):
        message = "must be TERMINATE, and automaticRestart false, for a preemptible instance"
        raise invalid("scheduling.onHostMaintenance", message)
    if spot != bool(scheduling.get("preemptible")):
        raise invalid("scheduling.preemptible", "must go with provisioningModel SPOT")
    _check_life(scheduling, spot)
    if machine_type in SPOT_ONLY and not spot:
        raise Refusal(400, "badRequest", f"{machine_type} is only for provisioning models SPOT and FLEX_START.")


def _check_life(scheduling: Body, spot: bool) -> None:
    """Raise Refusal unless an instance ends after a duration, or at a time, that GCP accepts."""
    limits, action = LIMITS & scheduling.keys(), scheduling.get("instanceTerminationAction")
    if len(limits) > 1:
        raise invalid("scheduling.terminationTime", "goes not with maxRunDuration")
    for limit in limits:
        if not LIFE_S[0] <= _life_s(scheduling) <= LIFE_S[1]:
            raise invalid(f"scheduling.{limit}", f"must be from {LIFE_S[0]} to {LIFE_S[1]} seconds away")
        if action is None:
            raise invalid("scheduling.instanceTerminationAction", f"is needed with {limit}")
    if action is not None and not limits and not spot:
        raise invalid("scheduling.instanceTerminationAction", "needs provisioningModel SPOT or a time limit")


def _life_s(scheduling: Body) -> float:
    if "maxRunDuration" in scheduling:
        return int(scheduling["maxRunDuration"]["seconds"])
    try:
        return (datetime.fromisoformat(scheduling["terminationTime"]) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):  # TypeError: without a time zone
        raise invalid("scheduling.terminationTime", "is not a time in RFC 3339") from None


def _check_disks(store: "Store", zone: str, machine_type: str, body: Body) -> None:
    for disk in body["disks"]:
        if disk.get("boot"):
            image = disk["initializeParams"]["sourceImage"]
            if not _is_image(image):
                raise missing(image)
            check_for_machine(machine_type, disk["initializeParams"]["diskType"])
            continue
        source = disk["source"]
        if source not in store.resources:
            raise missing(source)
        if place(source) != zone:
            raise invalid("resource.disks[1].source", f"the disk is in {place(source)}, the instance in {zone}")
        check_for_machine(machine_type, store.resources[source]["type"])
        users = [each for each in store.resources[source].get("users", []) if disk["mode"] == "READ_WRITE"]
        if users:
            message = f"The disk resource '{source}' is already being used by '{users[0]}'"
            raise Refusal(400, "resourceInUseByAnotherResource", message, late=True)


def _check_network(store: "Store", path: str, body: Body) -> None:
    region = region_of(path)
    for interface in body["networkInterfaces"]:
        subnet = store.get(interface["subnetwork"])
        if region_of(interface["subnetwork"]) != region:
            raise invalid("resource.networkInterfaces[0].subnetwork", "is of another region")
        if interface.get("stackType") == "IPV4_IPV6" and subnet.get("stackType") != "IPV4_IPV6":
            raise invalid("resource.networkInterfaces[0].stackType", "the subnet has no IPv6")
        for access in interface.get("accessConfigs") or []:
            for held in store.of("addresses").values():
                if held["address"] == access["natIP"] and held.get("users"):
                    message = f"External IP address: {access['natIP']} is already in-use."
                    raise Refusal(400, "badRequest", message, late=True)
    for policy in body.get("resourcePolicies") or []:
        store.get(policy)


def _is_image(path: str) -> bool:
    _projects, project, _global, _images, name = path.split("/")
    return name in seed.IMAGES.get(project, ())
