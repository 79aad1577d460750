"""Puts a launcher where the engine looks for a vendor's plugin: $PULUMI_HOME/plugins/resource-<name>-v<version>/."""

import shlex
import sys
from importlib.metadata import version
from pathlib import Path

from tests.doubles.provider import launcher


def install(pulumi_home: Path, name: str, *, url_variable: str, environ_prefix: str) -> Path:
    """Make the engine use the double as the plugin of the installed pulumi_<name>; return what it will start."""
    release = version(f"pulumi_{name}")
    folder = pulumi_home / "plugins" / f"resource-{name}-v{release}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"pulumi-resource-{name}"
    words = [sys.executable, "-I", "-S", str(launcher.__file__), url_variable, environ_prefix]
    path.write_text(f"#!/bin/sh\nexec {shlex.join(words)}\n")
    path.chmod(0o755)
    return path
