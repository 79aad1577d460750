"""The rule about the IAM roles that a stack creates on AWS."""

from collections.abc import Iterator

from core.reading.rules import Problem
from infra.config.models.deployment import DeploymentConfig


def boundary_is_of_account(config: DeploymentConfig) -> Iterator[Problem]:
    """A permissions boundary is a policy of the same account, or one of AWS."""
    boundary, account = config.iam.permissions_boundary, config.account
    if boundary is not None and account is not None and boundary.split(":")[4] not in (account, "aws"):
        what = f"{boundary} is a policy of another account than {account}"
        yield Problem("iam.permissions_boundary", what, f"write a policy of {account}")


IAM_RULES = (boundary_is_of_account,)
