"""Network interface, public address, login key."""

from tests.doubles.aws.client import Aws, retag, tag_map, tag_specifications
from tests.doubles.provider.kind import CloudError, Kind, Rules
from tests.doubles.provider.values import Properties


class NetworkInterface(Kind[Aws]):
    token = "aws:ec2/networkInterface:NetworkInterface"
    rules = Rules(immutable=frozenset({"subnetId", "region"}))
    gone = ("InvalidNetworkInterfaceID.NotFound",)

    def create(self, cloud: Aws, inputs: Properties) -> str:
        six = {"Ipv6AddressCount": inputs["ipv6AddressCount"]} if inputs.get("ipv6AddressCount") else {}
        made = cloud.call(
            "ec2",
            "create_network_interface",
            "creating EC2 Network Interface",
            SubnetId=inputs["subnetId"],
            Groups=inputs.get("securityGroups", []),
            TagSpecifications=tag_specifications("network-interface", inputs.get("tags")),
            **six,
        )
        return str(made["NetworkInterface"]["NetworkInterfaceId"])

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found("ec2", "describe_network_interfaces", self.gone, NetworkInterfaceIds=[identity])
        if seen is None or not seen["NetworkInterfaces"]:
            return None
        interface = seen["NetworkInterfaces"][0]
        return {
            "arn": f"arn:aws:ec2:{cloud.region}:{cloud.account}:network-interface/{identity}",
            "subnetId": interface["SubnetId"],
            "privateIp": interface["PrivateIpAddress"],
            "securityGroups": [each["GroupId"] for each in interface["Groups"]],
            "ipv6Addresses": [each["Ipv6Address"] for each in interface.get("Ipv6Addresses", [])],
            "tags": tag_map(interface.get("TagSet")),
        }

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        if old.get("securityGroups") != new.get("securityGroups"):
            groups = new["securityGroups"]
            cloud.call(
                "ec2", "modify_network_interface_attribute", "modifying", NetworkInterfaceId=identity, Groups=groups
            )
        retag(cloud, identity, old, new)

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        cloud.found("ec2", "delete_network_interface", self.gone, NetworkInterfaceId=identity)


class Eip(Kind[Aws]):
    token = "aws:ec2/eip:Eip"
    rules = Rules(immutable=frozenset({"domain", "publicIpv4Pool", "region"}))
    gone = ("InvalidAllocationID.NotFound",)

    def create(self, cloud: Aws, inputs: Properties) -> str:
        tags = tag_specifications("elastic-ip", inputs.get("tags"))
        made = cloud.call("ec2", "allocate_address", "creating EC2 EIP", Domain="vpc", TagSpecifications=tags)
        identity = str(made["AllocationId"])
        self._associate(cloud, identity, inputs)
        return identity

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found("ec2", "describe_addresses", self.gone, AllocationIds=[identity])
        if seen is None or not seen["Addresses"]:
            return None
        address = seen["Addresses"][0]
        return {
            "allocationId": identity,
            "publicIp": address["PublicIp"],
            "associationId": address.get("AssociationId", ""),
            "networkInterface": address.get("NetworkInterfaceId", ""),
            "tags": tag_map(address.get("Tags")),
        }

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        if old.get("networkInterface") != new.get("networkInterface"):
            self._disassociate(cloud, old)
            self._associate(cloud, identity, new)
        retag(cloud, identity, old, new)

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        self._disassociate(cloud, state)
        cloud.found("ec2", "release_address", self.gone, AllocationId=identity)

    def _associate(self, cloud: Aws, identity: str, inputs: Properties) -> None:
        if inputs.get("instance"):
            raise CloudError("the double ties addresses to interfaces only")
        if inputs.get("networkInterface"):
            target = {"AllocationId": identity, "NetworkInterfaceId": inputs["networkInterface"]}
            cloud.call("ec2", "associate_address", "associating EC2 EIP", **target)

    def _disassociate(self, cloud: Aws, state: Properties) -> None:
        if state.get("associationId"):
            gone = ["InvalidAssociationID.NotFound"]
            cloud.found("ec2", "disassociate_address", gone, AssociationId=state["associationId"])


class KeyPair(Kind[Aws]):
    token = "aws:ec2/keyPair:KeyPair"
    rules = Rules(immutable=frozenset({"keyName", "publicKey", "region"}), autoname="keyName")
    gone = ("InvalidKeyPair.NotFound",)

    def create(self, cloud: Aws, inputs: Properties) -> str:
        cloud.call(
            "ec2",
            "import_key_pair",
            "importing EC2 Key Pair",
            KeyName=inputs["keyName"],
            PublicKeyMaterial=inputs["publicKey"].encode(),
            TagSpecifications=tag_specifications("key-pair", inputs.get("tags")),
        )
        return str(inputs["keyName"])

    def read(self, cloud: Aws, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found("ec2", "describe_key_pairs", self.gone, KeyNames=[identity])
        if seen is None:
            return None
        pair = seen["KeyPairs"][0]
        return {
            "keyName": identity,
            "keyPairId": pair["KeyPairId"],
            "fingerprint": pair["KeyFingerprint"],
            "tags": tag_map(pair.get("Tags")),
        }

    def update(self, cloud: Aws, identity: str, old: Properties, new: Properties) -> None:
        retag(cloud, old["keyPairId"], old, new)

    def delete(self, cloud: Aws, identity: str, state: Properties) -> None:
        cloud.found("ec2", "delete_key_pair", self.gone, KeyName=identity)
