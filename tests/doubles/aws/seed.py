"""What AWS has before anyone makes anything: images, the public parameters that name them, quotas."""

import datetime
import json
from pathlib import Path
from typing import Any

UBUNTU_24 = "ami-0a24040000000000a"
UBUNTU_24_NEWER = "ami-0a24040000000000b"
UBUNTU_22 = "ami-0a22040000000000a"
DEEP_LEARNING = "ami-0ade000000000000a"

CANONICAL = "099720109477"
AMAZON = "898082745236"

UBUNTU_PARAMETER = "/aws/service/canonical/ubuntu/server/{release}/stable/current/{arch}/hvm/ebs-gp{gp}/ami-id"
DEEP_LEARNING_PARAMETER = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"

PARAMETERS = {
    UBUNTU_PARAMETER.format(release="24.04", arch="amd64", gp=3): UBUNTU_24,
    UBUNTU_PARAMETER.format(release="22.04", arch="amd64", gp=2): UBUNTU_22,
    DEEP_LEARNING_PARAMETER: DEEP_LEARNING,
}

QUOTAS = {
    "L-1216C47A": 256.0,  # vCPUs of running on-demand standard instances (A, C, D, H, I, M, R, T, Z)
    "L-DB2E81BA": 64.0,  # vCPUs of running on-demand G and VT instances
    "L-417A185B": 0.0,  # vCPUs of running on-demand P instances
    "L-34B43A08": 256.0,  # vCPUs of standard spot instance requests
    "L-3819A6DF": 64.0,  # vCPUs of G and VT spot instance requests
    "L-7212CCBC": 0.0,  # vCPUs of P4, P3 and P2 spot instance requests
    "L-C4BD4855": 0.0,  # vCPUs of P5 spot instance requests
    "L-0263D0A3": 5.0,  # Elastic IP addresses
    "L-F678F1CE": 5.0,  # VPCs
}


def write_images(path: Path) -> None:
    """Write the images in the form that MOTO_AMIS_PATH requires."""
    images = [
        _image(UBUNTU_24, "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20260601", CANONICAL),
        _image(UBUNTU_24_NEWER, "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20260701", CANONICAL),
        _image(UBUNTU_22, "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20260601", CANONICAL),
        _image(DEEP_LEARNING, "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 24.04) 20260601", AMAZON),
    ]
    path.write_text(json.dumps(images))


def seed_parameters(account: str, region: str, values: dict[str, str]) -> None:
    """Set public parameters, which only AWS may write."""
    from moto.ssm.models import Parameter, ssm_backends  # after moto's environment is set

    store = ssm_backends[account][region]._parameters
    for name, value in values.items():
        versions = store[name]
        versions.append(
            Parameter(  # type: ignore[abstract]  # moto does so, too
                account_id=account,
                name=name,
                value=value,
                parameter_type="String",
                description=None,
                allowed_pattern=None,
                keyid=None,
                last_modified_date=datetime.datetime.now(datetime.UTC),
                version=len(versions) + 1,
                data_type="aws:ec2:image",
            )
        )


def _image(identity: str, name: str, owner: str) -> dict[str, Any]:
    return {
        "ami_id": identity,
        "name": name,
        "description": name,
        "owner_id": owner,
        "state": "available",
        "public": True,
        "architecture": "x86_64",
        "root_device_type": "ebs",
        "root_device_name": "/dev/sda1",
        "virtualization_type": "hvm",
        "hypervisor": "xen",
        "image_type": "machine",
        "image_location": f"{owner}/{name}",
    }
