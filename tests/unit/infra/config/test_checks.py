"""Every config has passed every rule."""

import re

from core.paths import CHECKOUT
from infra.config import DeploymentConfig

PACKAGES = ("infra", "provisioning", "benchmarks", "serving", "tests")

MAKES_ONE = re.compile(rf"(?<!class ){DeploymentConfig.__name__}(\(|\.(model_validate|model_construct|parse_obj))")


def test_only_checks_creates_a_config() -> None:
    """The models lack the rules across sections, so a config created elsewhere would skip them."""
    files = (path for package in PACKAGES for path in (CHECKOUT / package).rglob("*.py"))
    made_in = {str(path.relative_to(CHECKOUT)) for path in files if MAKES_ONE.search(path.read_text())}
    assert made_in == {"infra/config/checks.py"}
