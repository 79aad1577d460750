"""Images by the names that a stack file uses: image families of their makers."""

from core.errors import ConfigError
from infra.clouds.gcp.api.client import ask
from infra.clouds.resources.denied_calls import MissingError
from infra.config.rules.location import IMAGES

FAMILIES = {
    "ubuntu-24.04": ("ubuntu-os-cloud", "ubuntu-2404-lts-amd64"),
    "ubuntu-22.04": ("ubuntu-os-cloud", "ubuntu-2204-lts"),
    "deep-learning": ("deeplearning-platform-release", "common-cu129-ubuntu-2204-nvidia-580"),
}
"""Project and family, as in public use in 2026. Families are retired sometimes; preflight reports that."""

GOOD = ("", "ACTIVE", "DEPRECATED")
"""Deprecation states of an image that can still start machines."""


def image_name(asked: str | None) -> str:
    """Return the image that a stack file asks for, or the default."""
    return asked or IMAGES["gcp"][0]


def resolve_image(name: str) -> str:
    """Return the path of an image: the newest of its family, or the named one. Raises ConfigError."""
    project, family = FAMILIES.get(name) or _parts(name)
    if family is None:
        return name
    try:
        image = ask("Images", "get_from_family", project=project, family=family)
    except MissingError:
        what, hint = f"{name} has no image: {project} has no family {family}", "write another image"
        raise ConfigError(what, where="machine.image", hint=hint) from None
    return f"projects/{project}/global/images/{image.name}"


def image_exists(path: str) -> bool:
    """Return whether an image can start machines."""
    _projects, project, *_between, name = path.split("/")
    try:
        image = ask("Images", "get", project=project, image=name)
    except MissingError:
        return False
    return image.status == "READY" and image.deprecated.state in GOOD


def _parts(path: str) -> tuple[str, str | None]:
    """Return project and family of an image's path; family None for a single image."""
    _projects, project, _global, _images, *name = path.split("/")
    return project, name[1] if name[0] == "family" else None
