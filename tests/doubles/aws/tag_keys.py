"""Tags and names that AWS refuses and moto accepts: keys that hosts cannot read, or that IAM considers equal."""

import re
from collections.abc import Iterator

from tests.doubles.aws.order import Refusal

PATTERN = r"[0-9a-zA-Z\-_+=,.@:]{1,255}"
RESERVED = (".", "..", "_index")


def refuse_tag_keys(action: str, values: dict[str, str]) -> None:
    """Raise Refusal for a key that the metadata service cannot give the instance."""
    if action != "RunInstances" or values.get("MetadataOptions.InstanceMetadataTags") != "enabled":
        return
    for key in _instance_tags(values):
        if not re.fullmatch(PATTERN, key) or key in RESERVED:
            message = (
                f"'{key}' is not a valid tag key. Tag keys must match pattern ({PATTERN}), and must not be a reserved "
                "name ('.', '..', '_index')"
            )
            raise Refusal(400, "InvalidParameterValue", message)


def _instance_tags(values: dict[str, str]) -> Iterator[str]:
    for name, value in values.items():
        found = re.fullmatch(r"(TagSpecification\.\d+)\.Tag\.\d+\.Key", name)
        if found and values.get(f"{found[1]}.ResourceType") == "instance":
            yield value


def refuse_equal_tag_keys(values: dict[str, str]) -> None:
    """Raise Refusal for keys that differ only in case: IAM considers them equal, moto does not."""
    keys = [value.lower() for name, value in values.items() if re.fullmatch(r"Tags\.member\.\d+\.Key", name)]
    if len(keys) != len(set(keys)):
        message = "Duplicate tag keys found. Please note that Tag keys are case insensitive."
        raise Refusal(400, "InvalidInput", message)


def refuse_group_name(action: str, values: dict[str, str]) -> None:
    """Raise Refusal for the name of a security group that could be an id; moto accepts it."""
    if action == "CreateSecurityGroup" and values.get("GroupName", "").startswith("sg-"):
        message = f"Invalid value '{values['GroupName']}' for GroupName. It may not be in the form of an ID (sg-*)"
        raise Refusal(400, "InvalidParameterValue", message)
