"""Images by the names that a stack file uses, looked up in their makers' public SSM parameters."""

import re
from typing import Any

from core.errors import ConfigError
from infra.clouds.aws.api.client import call
from infra.clouds.resources.denied_calls import MissingError
from infra.config.rules.location import IMAGES

PARAMETERS = {
    "ubuntu-24.04": "/aws/service/canonical/ubuntu/server/24.04/stable/current/{arch}/hvm/ebs-gp3/ami-id",
    "ubuntu-22.04": "/aws/service/canonical/ubuntu/server/22.04/stable/current/{arch}/hvm/ebs-gp2/ami-id",
    "deep-learning": ("/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"),
}
"""Sources: documentation.ubuntu.com/aws (find Ubuntu images), docs.aws.amazon.com/dlami (AMI ids through SSM)."""

UBUNTU_ARCH = {"x86_64": "amd64", "arm64": "arm64"}

AMI_ID = re.compile(r"ami-[0-9a-f]{8,17}")


def image_name(asked: str | None) -> str:
    """Return the image that a stack file asks for, or the default."""
    return asked or IMAGES["aws"][0]


def resolve_image(name: str, region: str, arch: str) -> str:
    """Return the current id of an image name. Raises ConfigError if the region has none."""
    if AMI_ID.fullmatch(name):
        return name
    parameter = PARAMETERS[name].format(arch=UBUNTU_ARCH[arch])
    found = call("ssm", region, "get_parameters", Names=[parameter])["Parameters"]
    if not found:
        raise ConfigError(
            f"{name} has no image for {arch} in {region}",
            where="machine.image",
            hint="write another image or an ami id of this region",
        )
    return str(found[0]["Value"])


def described_image(identity: str, region: str) -> dict[str, Any] | None:
    """Return an image as EC2 describes it; None if this account cannot see it.

    The call names the id: a filter leaves out deprecated images of others, from which machines still start.
    """
    try:
        seen = call(
            "ec2", region, "describe_images", ImageIds=[identity], IncludeDeprecated=True, IncludeDisabled=True
        )["Images"]
    except MissingError:
        return None
    return dict(seen[0]) if seen else None
