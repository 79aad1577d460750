"""A virtual machine."""

from typing import Any

from tests.doubles.gcp.client import Gcp
from tests.doubles.gcp.kinds.network import URL
from tests.doubles.gcp.rules.ties import write_moments
from tests.doubles.provider.kind import CloudError, Kind, Rules
from tests.doubles.provider.values import Properties

IMMUTABLE = (
    "name zone project guestAccelerators hostname canIpForward bootDisk.initializeParams bootDisk.source "
    "networkInterfaces.network confidentialInstanceConfig "
    # resource_compute_instance.go of hashicorp/terraform-provider-google, and its issues 21944 and 26148
    "scheduling.preemptible scheduling.provisioningModel scheduling.terminationTime scheduling.maxRunDuration "
)
MODELLED = (
    "name zone machineType guestAccelerators bootDisk attachedDisks networkInterfaces scheduling serviceAccount "
    "shieldedInstanceConfig metadata resourcePolicies labels desiredStatus allowStoppingForUpdate deletionProtection "
)
RUNNING, TERMINATED = "RUNNING", "TERMINATED"
NEEDS_STOP = ("machineType", "serviceAccount", "shieldedInstanceConfig")


class Instance(Kind[Gcp]):
    token = "gcp:compute/instance:Instance"
    rules = Rules(immutable=frozenset(IMMUTABLE.split()), delete_first=True, completed=frozenset({"networkInterfaces"}))

    def check(self, inputs: Properties) -> list[tuple[str, str]]:
        unknown = inputs.keys() - set(MODELLED.split())
        refused = [(key, "the double does not model this input of an instance") for key in sorted(unknown)]
        if inputs.get("desiredStatus", RUNNING) != RUNNING:
            refused.append(("desiredStatus", "the double models RUNNING only"))
        return refused

    def create(self, cloud: Gcp, inputs: Properties) -> str:
        path = f"projects/{cloud.project}/zones/{inputs['zone']}/instances/{inputs['name']}"
        cloud.insert(path, _body(inputs), "instance")
        return path

    def read(self, cloud: Gcp, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found(identity)
        if seen is None:
            return None
        found: Properties = {
            "instanceId": seen["id"],
            "selfLink": URL + identity,
            "name": seen["name"],
            "zone": identity.split("/")[3],
            "machineType": seen["machineType"].rpartition("/")[2],
            "labels": seen["labels"],
            "metadata": {each["key"]: each["value"] for each in seen["metadata"]["items"]},
            "scheduling": _scheduling_of(seen["scheduling"]),
            "currentStatus": seen["status"],
            "deletionProtection": seen["deletionProtection"],
            "networkInterfaces": [
                given | {"networkIp": each["networkIP"]}
                for given, each in zip(
                    list(state.get("networkInterfaces", [])), seen["networkInterfaces"], strict=False
                )
            ],
        }
        if state.get("desiredStatus"):
            found["desiredStatus"] = seen["status"]
        if seen["resourcePolicies"]:
            found["resourcePolicies"] = seen["resourcePolicies"][0]
        return found

    def update(self, cloud: Gcp, identity: str, old: Properties, new: Properties) -> None:
        stops = any(old.get(key) != new.get(key) for key in NEEDS_STOP)
        if stops and not new.get("allowStoppingForUpdate"):
            raise CloudError(
                "Changing the machine_type, service_account or shielded_instance_config on a started "
                "instance requires stopping it. To acknowledge this, please set allow_stopping_for_update = true"
            )
        for key in ("bootDisk", "attachedDisks", "networkInterfaces"):
            if _as_asked(old.get(key)) != _as_asked(new.get(key)):
                raise CloudError(f"the double does not change {key} in place")
        before, after = (str(each["machineType"]).partition("-")[0] for each in (old, new))
        if before != after:
            raise CloudError(f"the double does not change an instance of family {before} into one of {after}")
        changed = _body(new)
        write_moments(changed)
        del changed["disks"], changed["networkInterfaces"]
        ran = old.get("currentStatus", RUNNING) == RUNNING
        if stops:
            changed["status"] = TERMINATED
        cloud.change(identity, "update", lambda body: body.update(changed), "instance")
        if new.get("desiredStatus") == RUNNING or (stops and ran):
            cloud.start(identity)

    def delete(self, cloud: Gcp, identity: str, state: Properties) -> None:
        if state.get("deletionProtection"):
            raise CloudError(f"cannot delete instance {identity} without setting deletion_protection=false")
        cloud.delete(identity, "instance")


def _as_asked(value: Any) -> Any:
    """Return an input without the addresses that GCP has added to interfaces."""
    if not isinstance(value, list):
        return value
    return [{key: each[key] for key in each if key != "networkIp"} for each in value]


def _body(inputs: Properties) -> dict[str, Any]:
    """Return an instance with the API's names."""
    zone, boot = inputs["zone"], inputs["bootDisk"]
    params, metadata = boot["initializeParams"], inputs.get("metadata", {})
    disks = [
        {
            "boot": True,
            "autoDelete": boot.get("autoDelete", True),
            "initializeParams": {
                "sourceImage": params["image"],
                "diskSizeGb": params["size"],
                "diskType": params.get("type", "pd-standard"),
                "labels": params.get("labels", {}),
            },
        }
    ]
    disks += [
        {"source": each["source"], "deviceName": each.get("deviceName"), "mode": each.get("mode", "READ_WRITE")}
        for each in inputs.get("attachedDisks", [])
    ]
    return {
        "machineType": f"zones/{zone}/machineTypes/{inputs['machineType']}",
        "labels": inputs.get("labels", {}),
        "metadata": {"items": [{"key": key, "value": value} for key, value in metadata.items()]},
        "disks": disks,
        "networkInterfaces": [_interface(each) for each in inputs["networkInterfaces"]],
        "scheduling": _scheduling(inputs.get("scheduling", {})),
        "serviceAccounts": [inputs["serviceAccount"]] if "serviceAccount" in inputs else [],
        "shieldedInstanceConfig": inputs.get("shieldedInstanceConfig", {}),
        "guestAccelerators": [
            {"acceleratorType": f"zones/{zone}/acceleratorTypes/{each['type']}", "acceleratorCount": each["count"]}
            for each in inputs.get("guestAccelerators", [])
        ],
        "resourcePolicies": [inputs["resourcePolicies"]] if "resourcePolicies" in inputs else [],
        "deletionProtection": inputs.get("deletionProtection", False),
    }


def _interface(inputs: Properties) -> dict[str, Any]:
    return {
        "subnetwork": inputs["subnetwork"],
        "stackType": inputs.get("stackType", "IPV4_ONLY"),
        "accessConfigs": [
            {"natIP": each["natIp"], "networkTier": each.get("networkTier", "PREMIUM")}
            for each in inputs.get("accessConfigs", [])
        ],
        "ipv6AccessConfigs": inputs.get("ipv6AccessConfigs", []),
    }


def _scheduling(inputs: Properties) -> dict[str, Any]:
    """Return scheduling with the API's names: those of the SDK, except that the duration is text."""
    life = inputs.get("maxRunDuration")
    return inputs | ({"maxRunDuration": {"seconds": str(life["seconds"])}} if life else {})


def _scheduling_of(body: dict[str, Any]) -> Properties:
    """Return scheduling with the SDK's names."""
    life = body.get("maxRunDuration")
    return body | ({"maxRunDuration": {"seconds": int(life["seconds"])}} if life else {})
