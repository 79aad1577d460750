"""The environment in which the Pulumi CLI runs. Starts nothing."""

from infra.automation.backend import Backend
from tools.pulumi.cli import PulumiCli

ALWAYS = {
    # The salt of a stack is read from its state: written into the stack's file, it would make the checkout dirty.
    "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
    # infra/automation/plugins.py fetches what the cloud needs, no more
    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
}


def cli_environment(cli: PulumiCli, backend: Backend) -> dict[str, str]:
    """Return the environment in which the CLI runs on every stack of this checkout."""
    environment = cli.environment() | ALWAYS
    for name, value in backend.settings.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    return environment
