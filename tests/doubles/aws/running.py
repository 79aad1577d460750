"""The simulated AWS as a process of its own, and the environment in which programs take it for the real one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from core.paths import CHECKOUT, cache_dir
from tests.doubles.aws.settings import Control
from tests.doubles.provider.plugin import install

KEYS = {"AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST", "AWS_SECRET_ACCESS_KEY": "testing"}


@dataclass(frozen=True)
class RunningAws:
    """AWS as it is seen from a test."""

    url: str
    control: Control
    cache: Path
    """A cache folder with the Pulumi CLI of this machine and the double as its AWS plugin."""

    def environ(self) -> dict[str, str]:
        """Return what makes programs use this cloud: never the real one, never a login of whoever runs the tests."""
        return KEYS | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "XDG_CACHE_HOME": str(self.cache),
            "PULUMI_HOME": str(self.cache / "llm-deploy" / "pulumi" / "home"),
        }

    def client(self, service: str, region: str = "ap-northeast-2") -> Any:
        """Return a client for what a test wants to see or break."""
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )


@contextmanager
def running_aws(folder: Path) -> Iterator[RunningAws]:
    """Start the simulated cloud and end it with the block; `folder` takes what the engine needs to find it."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.doubles.aws.cloud"], cwd=CHECKOUT, env=environ, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, f"the simulated AWS ended with {process.wait()}"
        yield RunningAws(url, Control(url), _cache_with_plugin(folder))
    finally:
        process.terminate()
        process.communicate()


def _cache_with_plugin(folder: Path) -> Path:
    """Return a cache folder that shares the CLI with the real one and nothing else."""
    made = folder / "llm-deploy" / "pulumi"
    made.mkdir(parents=True)
    for entry in (cache_dir() / "pulumi").iterdir():
        if entry.is_dir() and entry.name != "home" and not entry.name.startswith("."):
            (made / entry.name).symlink_to(entry)
    install(made / "home", "aws", url_variable="AWS_ENDPOINT_URL", environ_prefix="AWS_")
    return folder
