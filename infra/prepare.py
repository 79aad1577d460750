"""What a cloud needs on this computer before the engine may start: told as steps, done outside the engine.

The engine would do it silently, and an interruption there would leave a creation that nobody knows the end of.
"""

from infra.config import DeploymentConfig


def prepare(config: DeploymentConfig, stack: str) -> None:
    """Bring this computer to where the stack's cloud can make machines. Raises UsageError when it cannot."""
    if config.cloud == "local":
        from infra.ssh_key import stack_key_pair
        from tools.host_packages import ensure_host_packages
        from tools.rootfs import ensure_rootfs

        ensure_host_packages()
        ensure_rootfs()
        stack_key_pair(stack)
