"""The IAM roles that a stack creates on AWS."""

from typing import Annotated

from pydantic import Field

from core.reading.frozen import Frozen
from core.reading.rules import matching

PolicyArn = Annotated[
    str,
    matching(
        r"(?a:arn:aws:iam::(\d{12}|aws):policy/[\w+=,.@/-]{1,500})",
        "is not the ARN of a policy; write one like arn:aws:iam::123456789012:policy/boundary",
    ),
]

IamPath = Annotated[
    str,
    matching(r"(?a:/([\w+=,.@-]{1,100}/){0,5})", "is not a path of IAM; write it with a / at both ends, e.g. /llm/"),
]


class IamSpec(Frozen):
    """The IAM roles and the instance profile that are created on AWS."""

    permissions_boundary: PolicyArn | None = Field(
        default=None, description="ARN of the policy that is the permissions boundary of the roles."
    )
    path: IamPath = Field(
        default="/", description="Path of roles and instance profile, e.g. /llm/. Takes effect when they are created."
    )
