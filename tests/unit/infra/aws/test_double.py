"""The double of AWS: mistakes that it must catch, each in the words of AWS."""

import pytest

from tests.doubles.aws.order import Refusal
from tests.doubles.aws.tag_keys import refuse_tag_keys

LAUNCH = {"MetadataOptions.InstanceMetadataTags": "enabled", "TagSpecification.1.ResourceType": "instance"}
KEY = "TagSpecification.1.Tag.2.Key"


@pytest.mark.parametrize("key", ["cost center", "team/search", "팀", ".", "..", "_index"])
def test_a_launch_refuses_tag_keys_that_the_host_could_not_read(key: str) -> None:
    with pytest.raises(Refusal, match=r"^InvalidParameterValue: '.*' is not a valid tag key"):
        refuse_tag_keys("RunInstances", LAUNCH | {KEY: key})


@pytest.mark.parametrize(
    ("action", "changed"),
    [
        pytest.param("RunInstances", {KEY: "llm-deploy:ends-at"}, id="one that it can"),
        pytest.param(
            "RunInstances", {KEY: "cost center", "MetadataOptions.InstanceMetadataTags": "disabled"}, id="unread"
        ),
        pytest.param("RunInstances", {KEY: "cost center", "TagSpecification.1.ResourceType": "volume"}, id="a disk's"),
        pytest.param("CreateVpc", {KEY: "cost center"}, id="no launch"),
    ],
)
def test_other_tag_keys_are_let_through(action: str, changed: dict[str, str]) -> None:
    refuse_tag_keys(action, LAUNCH | changed)
