"""Whether machines on AWS can start from a stack's image: it exists, is usable, and fits types and root disk."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from catalog.machines import find_machine
from core.errors import ConfigError
from infra.clouds.aws.placing.images import described_image, image_name, resolve_image
from infra.clouds.finding import Finding
from infra.clouds.preflight.checks import image_finding
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement

ABOUT = "machine.image"
OTHER = "write another image"


def image_findings(config: DeploymentConfig, placement: KnownPlacement | None) -> Iterator[Finding]:
    """Yield the faults of the image, else that it exists. A recorded image is not looked up again."""
    region, name = str(config.region), image_name(config.machine.image)
    machine = find_machine("aws", str(config.machine.type))
    try:
        recorded = placement.image if placement and placement.image_name == name else None
        identity = recorded or resolve_image(name, region, machine.arch if machine else "x86_64")
    except ConfigError as error:
        yield Finding("error", error.where, error.what, error.hint)
        return
    image = described_image(identity, region)
    if image is None:
        what = f"{identity} does not exist in {region}, or its owner does not share it with this account"
        yield image_finding(name, identity, placement, is_there=False, what=what.removeprefix(f"{identity} "))
        return
    found = list(image_troubles(image, identity, config))
    if all(each.level != "error" for each in found):
        yield Finding("ok", ABOUT, f"{name} is {identity}" + (" (recorded)" if recorded else ""))
    yield from found


def image_troubles(
    image: Mapping[str, Any], identity: str, config: DeploymentConfig, now: datetime | None = None
) -> Iterator[Finding]:
    """Yield the reasons why no machine can start from an image, by EC2's description, and warnings about it."""
    state, owner = image.get("State", "available"), image.get("OwnerId", "its owner")
    if state != "available":
        reason = (image.get("StateReason") or {}).get("Message")
        by_whom = f" by {owner}" if state == "disabled" else f" ({reason})" if reason else ""
        yield Finding("error", ABOUT, f"{identity} is {state}{by_whom}, so no machine starts from it", OTHER)
    if image.get("Platform") == "windows":
        yield Finding("error", ABOUT, f"{identity} is a Windows image", "write an Ubuntu or Debian image")
    if image.get("RootDeviceType", "ebs") != "ebs":
        yield Finding(
            "error",
            ABOUT,
            f"{identity} has its root disk in the instance store",
            "write an image with its root disk on EBS",
        )
    yield from _architecture(image, identity, config)
    least = _root_gib(image)
    if least > config.storage.root_gib:
        what = f"{config.storage.root_gib} GiB is too small for {identity}, which has {least} GiB"
        yield Finding("error", "storage.root_gib", what, f"write at least {least}")
    deprecated = image.get("DeprecationTime")
    if deprecated and datetime.fromisoformat(deprecated) <= (now or datetime.now(UTC)):
        what = f"{identity} has been deprecated since {deprecated[:10]}: it works until its owner {owner} removes it"
        yield Finding("warning", ABOUT, what, "write a newer image for the next host")
    if image.get("ImageAllowed") is False:
        what = f"{identity} is not one of the account's Allowed AMIs; their list only audits now, so machines start"
        yield Finding("warning", ABOUT, what, "see Allowed AMIs in the EC2 console")
    if any(each.get("ProductCodeType") == "marketplace" for each in image.get("ProductCodes", [])):
        what = f"{identity} is sold on AWS Marketplace: a machine starts only in an account that subscribed to it"
        yield Finding("warning", ABOUT, what, "subscribe in the console, if not done yet")


def _architecture(image: Mapping[str, Any], identity: str, config: DeploymentConfig) -> Iterator[Finding]:
    """Yield the machine types with another architecture; a fallback can be removed from the file.

    The gateway's own machine has the architecture of `machine.type` (config/rules).
    """
    arch = image.get("Architecture")
    for index, name in enumerate((str(config.machine.type), *config.machine.fallbacks)):
        machine = find_machine("aws", name)
        if arch and machine is not None and machine.arch != arch:
            what = f"{identity} is for {arch}, and {name} is {machine.arch}"
            if index:
                yield Finding("warning", f"machine.fallbacks[{index - 1}]", what, "leave it out")
            else:
                yield Finding("error", ABOUT, what, f"write an image for {machine.arch}")


def _root_gib(image: Mapping[str, Any]) -> int:
    """Return the least size of the root disk, in GiB; 0 if the image does not say it."""
    for each in image.get("BlockDeviceMappings", []):
        if each.get("DeviceName") == image.get("RootDeviceName"):
            return int((each.get("Ebs") or {}).get("VolumeSize") or 0)
    return 0
