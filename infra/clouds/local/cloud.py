"""Cloud `local`: machines on this computer."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from infra.clouds.not_rented import NotRented
from infra.config import DeploymentConfig
from infra.contract.stack_placement import KnownPlacement

if TYPE_CHECKING:
    from infra.contract.deployment import Deployment


class Local(NotRented):
    """Machines on this computer. Methods import what they need: most commands call only one, and few need Pulumi."""

    whose_machines = "this computer"
    looked_at = "checked the stack file, and this computer's memory and processors"

    def deploy(self, config: DeploymentConfig, place: Callable[[], KnownPlacement]) -> "Deployment":
        """Declare the machines of a stack."""
        from infra.clouds.local.deploy import deploy_machines

        return deploy_machines(config)

    def processors(self, config: DeploymentConfig) -> list[tuple[str, bool | None]]:
        """Return one machine without a GPU: all machines with an engine are alike."""
        return [("a local machine", False)]

    def refuse_too_large(self, config: DeploymentConfig, stack: str) -> None:
        """Raise ConfigError if a stack needs more memory or processors than this computer has."""
        from core.reading.words import error_of
        from infra.clouds.local.room import host_memory_gib, more_than_there_is
        from infra.config.reader import stack_file

        problems = [*more_than_there_is(config, memory_gib=host_memory_gib(), cpus=os.cpu_count() or 1)]
        if problems:
            raise error_of(problems, f"stacks/{stack_file(stack).name}")

    def prepare(self, config: DeploymentConfig, stack: str) -> None:
        """Install the host's packages, fetch the root filesystem and make the stack's SSH key.

        Raises UsageError if it cannot, ConfigError if a stack is too large.
        """
        self.refuse_too_large(config, stack)
        from infra.clouds.program.ssh_key import stack_key_pair
        from tools.host_packages import ensure_host_packages
        from tools.rootfs import ensure_rootfs

        ensure_host_packages()
        ensure_rootfs()
        stack_key_pair(stack)

    def remaining(self, stack: str) -> list[str]:
        """Return a line for each part of a stack's machines on this computer."""
        from infra.clouds.local.parts.orphans import of_stack

        return of_stack(stack)

    def remove_remaining(self, stack: str) -> None:
        """Remove the machines of a stack."""
        from infra.clouds.local.machine import destroy_stack

        destroy_stack(stack)

    def is_off(self, stack: str, host: str) -> bool:
        """Return whether a machine is complete and does not run."""
        from infra.clouds.local import machine

        return machine.is_off(stack, host)

    def kept_machines(self, stack: str) -> dict[str, str]:
        """Return the complete machines: those that do not answer keep their disks, keys and addresses."""
        from infra.clouds.local import machine

        return {
            name: "does not answer" if runs else "is off" for name, runs in machine.complete_machines(stack).items()
        }

    def missing_words(self, hosts: str) -> str:
        """Return the line that `refresh` prints about machines that do not run. Most still have their disks."""
        return f"not running: {hosts}; `up` starts them again, each with its disk if it still has one"


CLOUD = Local()
