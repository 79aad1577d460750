"""Tag keys that a launch refuses when the instance is to read its own tags: moto lets all of them through."""

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
