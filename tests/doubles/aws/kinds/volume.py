"""Data volume, and its attachment to an instance."""

from tests.doubles.aws.client import Aws, retag, settled, tag_map, tag_specifications
from tests.doubles.provider.kind import CloudError, Kind, Rules
from tests.doubles.provider.values import Properties

GONE = ["InvalidVolume.NotFound"]


class Volume(Kind[Aws]):
    token = "aws:ebs/volume:Volume"
    rules = Rules(immutable=frozenset({"availabilityZone", "encrypted", "kmsKeyId", "snapshotId", "region"}))

    def create(self, cloud: Aws, inputs: Properties) -> str:
        made = cloud.call(
            "ec2",
            "create_volume",
            "creating EBS Volume",
            AvailabilityZone=inputs["availabilityZone"],
            Size=inputs["size"],
            VolumeType=inputs.get("type", "gp2"),
            Encrypted=inputs.get("encrypted", False),
            TagSpecifications=tag_specifications("volume", inputs.get("tags")),
            **({"KmsKeyId": key} if (key := inputs.get("kmsKeyId")) else {}),
            **_speed(inputs),
        )
        return str(made["VolumeId"])

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found("ec2", "describe_volumes", GONE, VolumeIds=[identity])
        if seen is None or not seen["Volumes"]:
            return None
        volume = seen["Volumes"][0]
        return {
            "arn": f"arn:aws:ec2:{cloud.region}:{cloud.account}:volume/{identity}",
            "availabilityZone": volume["AvailabilityZone"],
            "size": volume["Size"],
            "type": volume["VolumeType"],
            "encrypted": volume["Encrypted"],
            "throughput": volume.get("Throughput", 0),
            "iops": volume.get("Iops", 0),
            "kmsKeyId": volume.get("KmsKeyId", ""),
            "tags": tag_map(volume.get("Tags")),
        }

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        if new["size"] < old["size"]:
            raise CloudError(f"modifying EBS Volume ({identity}): a volume cannot become smaller")
        change = {**({"Size": new["size"]} if new["size"] != old["size"] else {}), **_speed(new)}
        if new["size"] != old["size"] or _speed(new) != _speed(old):
            cloud.call("ec2", "modify_volume", "modifying EBS Volume", VolumeId=identity, **change)
        retag(cloud, identity, old, new)

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        cloud.found("ec2", "delete_volume", GONE, VolumeId=identity)


def _speed(inputs: Properties) -> dict[str, int]:
    """Return the speed in the form of the API."""
    wanted = {"Throughput": inputs.get("throughput"), "Iops": inputs.get("iops")}
    return {key: value for key, value in wanted.items() if value is not None}


class VolumeAttachment(Kind[Aws]):
    token = "aws:ec2/volumeAttachment:VolumeAttachment"
    rules = Rules(immutable=frozenset({"deviceName", "instanceId", "volumeId", "region"}))

    def create(self, cloud: Aws, inputs: Properties) -> str:
        target = {"Device": inputs["deviceName"], "InstanceId": inputs["instanceId"], "VolumeId": inputs["volumeId"]}
        cloud.call("ec2", "attach_volume", "attaching EBS Volume", **target)
        return f"vai-{inputs['volumeId']}-{inputs['instanceId']}"

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found("ec2", "describe_volumes", GONE, VolumeIds=[state["volumeId"]])
        for volume in seen["Volumes"] if seen else ():
            for each in volume.get("Attachments", []):
                if each["InstanceId"] == state["instanceId"]:
                    return {"deviceName": each["Device"]}
        return None

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        """Return no changes: the remaining inputs only say how to remove it."""

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        if state.get("skipDestroy"):
            return
        target = {"InstanceId": state["instanceId"], "VolumeId": state["volumeId"]}
        cloud.found("ec2", "detach_volume", [*GONE, "IncorrectState"], **target)
        settled(lambda: True if self.read(cloud, identity, state) is None else None)
