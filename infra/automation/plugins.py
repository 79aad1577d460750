"""The Pulumi plugin of a cloud: fetched once, as a visible step.

Otherwise, the Pulumi engine fetches a plugin for every installed SDK, also for clouds that the stack does not use: that
is hundreds of megabytes. Without a network, the attempts delay every run by seconds.
"""

import subprocess
from importlib.metadata import version
from pathlib import Path

from core.console import step
from core.errors import DeployError
from infra.automation.sdk import ensure_sdk
from tools.pulumi.cli import PulumiCli


def ensure_plugin(cli: PulumiCli, cloud: str) -> None:
    """Fetch the plugin for the installed SDK of a cloud, unless it exists.

    Raises DeployError when SDK or plugin cannot be fetched.
    """
    ensure_sdk(cloud)
    release = version(f"pulumi_{cloud}")
    environment = cli.environment()
    home = Path(environment.get("PULUMI_HOME") or Path.home() / ".pulumi")
    folder = home / "plugins" / f"resource-{cloud}-v{release}"
    if folder.is_dir() and not folder.with_name(f"{folder.name}.partial").exists():
        return
    with step(f"fetch Pulumi's plugin for {cloud}, version {release} (once)", once=True):
        done = subprocess.run(
            [str(cli.program), "--non-interactive", "plugin", "install", "resource", cloud, release],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise DeployError(
                "cannot be fetched",
                where=f"Pulumi's plugin for {cloud}, version {release}",
                hint=f"check the network, or run `{cli.program} plugin install resource {cloud} {release}`",
                detail=done.stderr.strip(),
            )
