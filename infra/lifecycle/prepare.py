"""What a cloud needs on this computer before the engine may start: told as steps, done outside the engine.

The engine would do it silently, and an interruption there would leave a creation that nobody knows the end of.
"""

import os

from core.words import error_of
from infra.clouds.local.room import host_memory_gib, more_than_there_is
from infra.config import DeploymentConfig
from infra.config.reader import stack_file
from tools.host_packages import ensure_host_packages
from tools.rootfs import ensure_rootfs


def refuse_too_large(config: DeploymentConfig, stack: str) -> None:
    """Raise ConfigError when the stack's file asks this computer for more than it has; looks, and changes nothing."""
    if config.cloud == "local":
        problems = [*more_than_there_is(config.machine, memory_gib=host_memory_gib(), cpus=os.cpu_count() or 1)]
        if problems:
            raise error_of(problems, f"stacks/{stack_file(stack).name}")


def prepare(config: DeploymentConfig, stack: str) -> None:
    """Bring this computer to where the stack's cloud can make machines.

    Raises UsageError when it cannot, ConfigError when it has too little.
    """
    refuse_too_large(config, stack)
    if config.cloud == "local":
        from infra.clouds.hosts.ssh_key import stack_key_pair

        ensure_host_packages()
        ensure_rootfs()
        stack_key_pair(stack)
