"""Where spot machines write their last records: in a folder of the stack's bucket.

An existing bucket is written to only if the stack file says so.
"""

from typing import Any

import pulumi

from infra.config import DeploymentConfig


def notice_prefix(config: DeploymentConfig, physical: str) -> str:
    """Return the folder in the bucket to which the machines of the stack may add objects; empty if there is none."""
    spec = config.storage.bucket
    if spec is None or not config.has_spot:
        return ""
    wanted = spec.name is None if spec.notices is None else spec.notices
    return f"notices/{physical}/" if wanted else ""


def notice_folder(
    scheme: str, bucket: pulumi.Output[str] | None, prefix: str, region: str | None = None
) -> pulumi.Output[dict[str, Any]] | None:
    """Return the same folder as a host record has it; `region` of a bucket on AWS that the stack made."""
    if bucket is None or not prefix:
        return None
    return bucket.apply(lambda name: {"url": f"{scheme}://{name}/{prefix}", **({"region": region} if region else {})})
