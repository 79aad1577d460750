"""Rules about place and type of the machines: region, zones, network, machine types, image."""

import re
from collections.abc import Iterator, Mapping

from catalog.aws_partitions import COMMERCIAL, partition_of
from catalog.clouds import RENTED
from catalog.machines import find_machine, nearest_types
from core.reading.rules import Problem, one_of, twice
from infra.config.models.deployment import DeploymentConfig

REGION = {"aws": r"[a-z]{2,4}(-[a-z]+)+-[0-9]", "gcp": r"[a-z]+-[a-z]+[0-9]{1,2}"}
REGION_EXAMPLE = {"aws": "ap-northeast-2", "gcp": "asia-northeast3"}
MACHINE_TYPE_EXAMPLE = {"aws": "g5.xlarge", "gcp": "g2-standard-4"}
ZONE_SUFFIX = {"aws": r"[a-z]", "gcp": r"-[a-z]"}

IMAGES = {
    "local": ("debian-12",),
    "aws": ("ubuntu-24.04", "ubuntu-22.04", "deep-learning"),
    "gcp": ("ubuntu-24.04", "ubuntu-22.04", "deep-learning"),
}
IMAGE_ID = {"aws": r"ami-[0-9a-f]{8}([0-9a-f]{9})?", "gcp": r"projects/[a-z0-9:.-]+/global/images/(family/)?[a-z0-9-]+"}
IMAGE_ID_EXAMPLE = {"aws": "ami-0123456789abcdef0", "gcp": "projects/<project>/global/images/<image>"}

NETWORK_ID = {"aws": r"vpc-[0-9a-f]{8}([0-9a-f]{9})?", "gcp": r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"}
SUBNET_ID = {"aws": r"subnet-[0-9a-f]{8}([0-9a-f]{9})?", "gcp": r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"}
NETWORK_EXAMPLE = {"aws": "vpc-0123456789abcdef0", "gcp": "default"}
SUBNET_EXAMPLE = {"aws": "subnet-0123456789abcdef0", "gcp": "default"}

PROJECT = r"[a-z][a-z0-9-]{4,28}[a-z0-9]"
ACCOUNT = r"[0-9]{12}"
EXAMPLE_PROJECT = "my-project-123456"
"""The project in this repository's stack files, until a user writes their own."""


def region_and_zones(config: DeploymentConfig) -> Iterator[Problem]:
    """The region belongs to the cloud, and every zone to the region."""
    cloud, region = config.cloud, config.region
    if cloud not in REGION or region is None:
        return
    if not re.fullmatch(REGION[cloud], region):
        is_zone = re.fullmatch(REGION[cloud] + ZONE_SUFFIX[cloud], region)
        hint = f"did you mean {region[:-1].rstrip('-')}?" if is_zone else f"write one like {REGION_EXAMPLE[cloud]}"
        yield Problem("region", f"{region} is not a region of {cloud}", hint)
        return
    if cloud == "aws" and (partition := partition_of(region)) != COMMERCIAL:
        yield Problem(
            "region",
            f"{region} is in the partition {partition}, which has other accounts, prices and images",
            f"write a region of the partition {COMMERCIAL}, like {REGION_EXAMPLE[cloud]}",
        )
        return
    for index, zone in enumerate(config.zones):
        if not re.fullmatch(re.escape(region) + ZONE_SUFFIX[cloud], zone):
            dash = "" if cloud == "aws" else "-"
            near = re.fullmatch(re.escape(region) + r"[-_ ]?([A-Za-z])", zone)
            hint = f"did you mean {region}{dash}{near[1].lower()}?" if near else f"write one like {region}{dash}a"
            yield Problem(f"zones[{index}]", f"{zone} is not a zone of {region}", hint)
    yield from twice(config.zones, "zones")


def owner_ids(config: DeploymentConfig) -> Iterator[Problem]:
    """Project and account have the form that the cloud uses."""
    if config.project is not None and not re.fullmatch(PROJECT, config.project):
        yield Problem(
            "project",
            f"{config.project} is not a project id",
            "write the id, not the name or number: 6 to 30 lower-case letters, digits and -",
        )
    if config.account is not None and not re.fullmatch(ACCOUNT, config.account):
        yield Problem("account", "is not an AWS account id", "write its 12 digits in quotes")


def machine_types(config: DeploymentConfig) -> Iterator[Problem]:
    """Every machine type is known, and the fallbacks have a GPU if the first type has one."""
    machine = config.machine
    if config.cloud not in REGION or machine.type is None:
        return
    asked = {"machine.type": machine.type}
    asked |= {f"machine.fallbacks[{index}]": each for index, each in enumerate(machine.fallbacks)}
    first = find_machine(config.cloud, machine.type)
    for key, name in asked.items():
        row = find_machine(config.cloud, name)
        if row is None:
            yield unknown_type(config.cloud, name, key, MACHINE_TYPE_EXAMPLE)
        elif first is not None and bool(row.gpu) != bool(first.gpu):
            has = f"has a {row.gpu.name}" if row.gpu else "has no GPU"
            yield Problem(
                key, f"{name} {has}, unlike {first.type}", "write only types with a GPU, or only types without"
            )
    for problem in twice((machine.type, *machine.fallbacks), "machine"):
        index = int(problem.key.removeprefix("machine[").removesuffix("]"))
        yield Problem(f"machine.fallbacks[{index - 1}]", problem.what, problem.hint)


def unknown_type(cloud: str, name: str, key: str, examples: Mapping[str, str]) -> Problem:
    """Return the problem of a machine type that is not in the table of the cloud; `examples` has a type by cloud."""
    if any(find_machine(other, name) for other in RENTED):
        return Problem(key, f"{name} is a machine type of another cloud", f"write e.g. {examples[cloud]}")
    *others, last = nearest_types(cloud, name)
    hint = f"did you mean {', '.join(others)} or {last}?"
    return Problem(key, f"{name} is not a known machine type of {cloud}", hint)


def image(config: DeploymentConfig) -> Iterator[Problem]:
    """The cloud has the image, and the image of GPU drivers is for machines with a GPU."""
    name = config.machine.image
    if name is None or config.cloud not in IMAGES:
        return
    known = IMAGES[config.cloud]
    if name not in known and not re.fullmatch(IMAGE_ID.get(config.cloud, r"(?!)"), name):
        hint = one_of(known, name)
        if config.cloud in IMAGE_ID_EXAMPLE:
            hint += f" (or an id like {IMAGE_ID_EXAMPLE[config.cloud]})"
        yield Problem("machine.image", f"{name} is not an image for cloud {config.cloud}", hint)
    row = find_machine(config.cloud, config.machine.type or "")
    if name == "deep-learning" and row is not None and row.gpu is None:
        yield Problem("machine.image", f"deep-learning is for GPUs, and {row.type} has none", "write ubuntu-24.04")


def network_ids(config: DeploymentConfig) -> Iterator[Problem]:
    """An existing network is given with its subnets, in the form that the cloud uses."""
    network, cloud = config.network, config.cloud
    if cloud not in NETWORK_ID:
        return
    if network.id is None:
        if network.subnets:
            yield Problem("network.subnets", "need network.id", "add network.id")
        return
    if not re.fullmatch(NETWORK_ID[cloud], network.id):
        example = NETWORK_EXAMPLE[cloud]
        yield Problem("network.id", f"{network.id} is not a network id of {cloud}", f"write one like {example}")
    if "cidr" in network.model_fields_set:
        yield Problem("network.cidr", "is for a new network", "leave it out, or leave network.id out")
    if not network.subnets:
        yield Problem("network.subnets", "are missing", f"name subnets of {network.id}, e.g. [{SUBNET_EXAMPLE[cloud]}]")
    for index, subnet in enumerate(network.subnets):
        if not re.fullmatch(SUBNET_ID[cloud], subnet):
            key, example = f"network.subnets[{index}]", SUBNET_EXAMPLE[cloud]
            yield Problem(key, f"{subnet} is not a subnet id of {cloud}", f"write one like {example}")
    if cloud == "gcp" and len(network.subnets) > 1:
        yield Problem("network.subnets[1]", "is one too many", "write one: a GCP subnet spans all zones of a region")
    yield from twice(network.subnets, "network.subnets")


def key_is_of_region(config: DeploymentConfig) -> Iterator[Problem]:
    """A KMS key encrypts disks in its own region only."""
    key, region = config.storage.kms_key, config.region
    if config.cloud == "aws" and key is not None and region is not None and (lies_in := key.split(":")[3]) != region:
        yield Problem(
            "storage.kms_key", f"is a key of {lies_in}, and the disks are in {region}", f"write a key of {region}"
        )


LOCATION_RULES = (region_and_zones, owner_ids, machine_types, image, network_ids, key_is_of_region)
