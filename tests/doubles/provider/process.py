"""A simulated cloud as a separate process, and a cache folder in which the engine finds its plugin."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.paths import CHECKOUT, cache_dir
from tests.doubles.provider.plugin import install


@contextmanager
def serving(module: str) -> Iterator[str]:
    """Run a module that prints its URL and serves, until the block ends; without the login of the user."""
    own = ("AWS_", "GOOGLE_", "CLOUDSDK_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    process = subprocess.Popen(
        [sys.executable, "-m", module], cwd=CHECKOUT, env=environ, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, f"{module} ended with {process.wait()}"
        yield url
    finally:
        process.terminate()
        process.communicate()


def cache_with_plugin(folder: Path, name: str, *, url_variable: str, environ_prefix: str) -> Path:
    """Return a cache folder that shares the CLI with the real one and nothing else."""
    made = folder / "llm-deploy" / "pulumi"
    made.mkdir(parents=True)
    for entry in (cache_dir() / "pulumi").iterdir():
        if entry.is_dir() and entry.name != "home" and not entry.name.startswith("."):
            (made / entry.name).symlink_to(entry)
    install(made / "home", name, url_variable=url_variable, environ_prefix=environ_prefix)
    return folder
