"""A virtual machine."""

from typing import Any

from tests.doubles.aws.client import Aws, retag, settled, tag_map, tag_specifications
from tests.doubles.provider.kind import CloudError, HalfMadeError, Kind, Rules
from tests.doubles.provider.values import Properties

GONE = ["InvalidInstanceID.NotFound"]
ENDED = ("shutting-down", "terminated")
IMMUTABLE = (
    "ami availabilityZone subnetId keyName userDataReplaceOnChange instanceMarketOptions primaryNetworkInterface "
    "networkInterfaces privateIp placementGroup tenancy hibernation region cpuOptions "
    "rootBlockDevice.encrypted rootBlockDevice.kmsKeyId rootBlockDevice.deviceName "
)
MODELLED = (
    "ami instanceType keyName iamInstanceProfile primaryNetworkInterface instanceMarketOptions "
    "instanceInitiatedShutdownBehavior creditSpecification metadataOptions rootBlockDevice userData tags "
)


class Instance(Kind[Aws]):
    token = "aws:ec2/instance:Instance"
    rules = Rules(immutable=frozenset(IMMUTABLE.split()))

    def check(self, inputs: Properties) -> list[tuple[str, str]]:
        unknown = inputs.keys() - set(MODELLED.split())
        return [(key, "the double does not model this input of an instance") for key in sorted(unknown)]

    def create(self, cloud: Aws, inputs: Properties) -> str:
        made = cloud.call("ec2", "run_instances", "creating EC2 Instance", **_request(inputs))
        identity = str(made["Instances"][0]["InstanceId"])
        seen = settled(lambda: _described(cloud, identity))  # AWS does not find a new instance at once
        if seen["State"]["Name"] in ENDED:
            text = f"waiting for EC2 Instance ({identity}) create: unexpected state '{seen['State']['Name']}', "
            raise HalfMadeError(
                f"{text}wanted target 'running', last error: {seen['StateReason']['Message']}", identity
            )
        return identity

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        seen = _described(cloud, identity)
        if seen is None or seen["State"]["Name"] in ENDED:
            return None
        found: Properties = {
            "arn": f"arn:aws:ec2:{cloud.region}:{cloud.account}:instance/{identity}",
            "ami": seen["ImageId"],
            "instanceType": seen["InstanceType"],
            "instanceState": seen["State"]["Name"],
            "availabilityZone": seen["Placement"]["AvailabilityZone"],
            "keyName": seen.get("KeyName", ""),
            "privateIp": seen.get("PrivateIpAddress", ""),
            "publicIp": seen.get("PublicIpAddress", ""),
            "subnetId": seen.get("SubnetId", ""),
            "primaryNetworkInterfaceId": _interface(seen),
            "instanceLifecycle": seen.get("InstanceLifecycle", ""),
            "tags": tag_map(seen.get("Tags")),
        }
        return found

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        for key in ("instanceType", "userData"):
            if old.get(key) != new.get(key):
                self._change_stopped(cloud, identity, key, new)
        size, before = new["rootBlockDevice"].get("volumeSize"), old["rootBlockDevice"].get("volumeSize")
        if size != before:
            volume = _root_volume(cloud, identity)
            cloud.call("ec2", "modify_volume", "modifying EBS Volume", VolumeId=volume, Size=size)
        for key in ("metadataOptions", "creditSpecification", "iamInstanceProfile"):
            if old.get(key) != new.get(key):
                raise CloudError(f"the double does not change {key} in place")
        if old["rootBlockDevice"].get("tags") != new["rootBlockDevice"].get("tags"):
            retag(cloud, _root_volume(cloud, identity), old["rootBlockDevice"], new["rootBlockDevice"])
        retag(cloud, identity, old, new)

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        cloud.found("ec2", "terminate_instances", GONE, InstanceIds=[identity])
        settled(lambda: _is_terminated(cloud, identity))

    def _change_stopped(self, cloud: Aws, identity: str, key: str, new: Properties) -> None:
        """Stop, change and start, as some inputs require. A one-time spot machine cannot be stopped."""
        if new.get("instanceMarketOptions"):
            raise CloudError(
                f"updating EC2 Instance ({identity}): stopping instance: operation error EC2: StopInstances, https "
                "response error StatusCode: 400, RequestID: d0, api error UnsupportedOperation: You can't stop the "
                f"Spot Instance '{identity}' because it is associated with a one-time Spot Instance request."
            )
        attribute = {"instanceType": "InstanceType", "userData": "UserData"}[key]
        value = new[key].encode() if key == "userData" else new[key]
        cloud.call("ec2", "stop_instances", "stopping EC2 Instance", InstanceIds=[identity])
        change = {attribute: {"Value": value}}
        cloud.call("ec2", "modify_instance_attribute", "modifying EC2 Instance", InstanceId=identity, **change)
        cloud.call("ec2", "start_instances", "starting EC2 Instance", InstanceIds=[identity])


def _request(inputs: Properties) -> dict[str, Any]:
    """Return the parameters of RunInstances."""
    disk, metadata = inputs.get("rootBlockDevice") or {}, inputs.get("metadataOptions") or {}
    interface = {"DeviceIndex": 0, "NetworkInterfaceId": inputs["primaryNetworkInterface"]["networkInterfaceId"]}
    request: dict[str, Any] = {
        "ImageId": inputs["ami"],
        "InstanceType": inputs["instanceType"],
        "MinCount": 1,
        "MaxCount": 1,
        "NetworkInterfaces": [interface],
        "KeyName": inputs["keyName"],
        "UserData": inputs.get("userData", ""),
        "InstanceInitiatedShutdownBehavior": inputs.get("instanceInitiatedShutdownBehavior", "stop"),
        "IamInstanceProfile": {"Name": inputs["iamInstanceProfile"]},
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/sda1",
                "Ebs": {
                    "VolumeSize": disk["volumeSize"],
                    "VolumeType": disk.get("volumeType", "gp2"),
                    "Encrypted": disk.get("encrypted", False),
                    "DeleteOnTermination": disk.get("deleteOnTermination", True),
                    **({"KmsKeyId": disk["kmsKeyId"]} if disk.get("kmsKeyId") else {}),
                },
            }
        ],
        "MetadataOptions": {
            "HttpEndpoint": metadata.get("httpEndpoint", "enabled"),
            "HttpTokens": metadata.get("httpTokens", "optional"),
            "HttpPutResponseHopLimit": metadata.get("httpPutResponseHopLimit", 1),
            "InstanceMetadataTags": metadata.get("instanceMetadataTags", "disabled"),
        },
        "TagSpecifications": [
            *tag_specifications("instance", inputs.get("tags")),
            *tag_specifications("volume", disk.get("tags")),
        ],
    }
    if inputs.get("instanceMarketOptions"):
        request["InstanceMarketOptions"] = _market(inputs["instanceMarketOptions"])
    return request


def _market(options: Properties) -> dict[str, Any]:
    spot = options.get("spotOptions") or {}
    wanted = {
        "SpotInstanceType": spot.get("spotInstanceType"),
        "InstanceInterruptionBehavior": spot.get("instanceInterruptionBehavior"),
        "MaxPrice": spot.get("maxPrice"),
    }
    known = {key: value for key, value in wanted.items() if value is not None}
    return {"MarketType": options["marketType"], "SpotOptions": known}


def _described(cloud: Aws, identity: str) -> Any:
    seen = cloud.found("ec2", "describe_instances", GONE, InstanceIds=[identity])
    return seen["Reservations"][0]["Instances"][0] if seen and seen["Reservations"] else None


def _is_terminated(cloud: Aws, identity: str) -> bool | None:
    seen = _described(cloud, identity)
    return True if seen is None or seen["State"]["Name"] == "terminated" else None


def _interface(seen: Any) -> str:
    interfaces = seen.get("NetworkInterfaces") or [{}]
    return str(interfaces[0].get("NetworkInterfaceId", ""))


def _root_volume(cloud: Aws, identity: str) -> str:
    seen = _described(cloud, identity)
    return str(seen["BlockDeviceMappings"][0]["Ebs"]["VolumeId"])
