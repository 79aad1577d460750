"""Regions that are known without a call to AWS: those of every account, and those of this checkout's stacks."""

from core.errors import DeployError
from core.paths import placement_files
from core.reading.strict_json import parse_object
from infra.config import load_stack
from infra.config.reader import known_stacks

DEFAULT_REGIONS = (
    "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
    "ca-central-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1",
    "us-east-2", "us-west-1", "us-west-2",
)  # fmt: skip
"""Enabled in every account without opt-in (docs.aws.amazon.com: AWS Regions, read in November 2026)."""


def regions_of_stacks() -> set[str]:
    """Return the regions in the stack files and placements of this checkout; an invalid file is skipped."""
    found = set[str]()
    for stack in known_stacks():
        try:
            config = load_stack(stack)
        except DeployError:
            continue
        if config.cloud == "aws":
            found.add(str(config.region))
    for path in placement_files():
        try:
            placement = parse_object(path.read_bytes())
        except (OSError, ValueError):
            continue
        if placement.get("account") and placement.get("region"):
            found.add(str(placement["region"]))
    return found
