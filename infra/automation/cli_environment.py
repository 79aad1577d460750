"""The environment in which the Pulumi CLI runs. Starts nothing."""

from infra.automation.backend import Backend
from tools.pulumi.cli import PulumiCli

ALWAYS = {
    # The CLI then reads a stack's salt from its state. Otherwise it writes it into the stack's file, which git tracks.
    "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
    # infra/automation/plugins.py fetches the one plugin that the cloud needs
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
