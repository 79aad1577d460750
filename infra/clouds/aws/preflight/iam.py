"""Whether the IAM roles are available: the permissions boundary of created roles, and EC2's role for spot machines."""

from collections.abc import Iterator

from infra.clouds.aws.api.client import HOME, call
from infra.clouds.aws.api.hints import MAKE_SPOT_ROLE
from infra.clouds.finding import Finding
from infra.clouds.resources.denied_calls import MissingError
from infra.config import DeploymentConfig

SPOT_ROLE = "AWSServiceRoleForEC2Spot"


def boundary_findings(config: DeploymentConfig) -> Iterator[Finding]:
    """Yield whether the permissions boundary exists."""
    boundary = config.iam.permissions_boundary
    if boundary is None:
        return
    try:
        call("iam", HOME, "get_policy", PolicyArn=boundary)
    except MissingError:
        what = f"{boundary} does not exist"
        yield Finding("error", "iam.permissions_boundary", what, "write the ARN of a policy of this account")
    else:
        yield Finding("ok", "iam.permissions_boundary", boundary)


def spot_role_findings(config: DeploymentConfig) -> Iterator[Finding]:
    """Yield whether EC2 has its role for spot machines. Without it, the first one needs a permission that few have."""
    if not config.has_spot:
        return
    try:
        call("iam", HOME, "get_role", RoleName=SPOT_ROLE)
    except MissingError:
        what = (
            f"the role {SPOT_ROLE} is missing; without it, starting a spot machine needs the permission"
            " iam:CreateServiceLinkedRole"
        )
        yield Finding("warning", "machine.market", what, f"if you lack it, ask an administrator for {MAKE_SPOT_ROLE}")
