"""The simulated AWS as a separate process, and the environment in which programs take it for the real one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from tests.doubles.aws.settings import Control
from tests.doubles.provider.process import cache_with_plugin, serving

KEYS = {"AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST", "AWS_SECRET_ACCESS_KEY": "testing"}

OTHER_ACCOUNT = "999999999999"


@dataclass(frozen=True)
class RunningAws:
    """AWS as a test uses it."""

    url: str
    control: Control
    cache: Path
    """A cache folder with the Pulumi CLI of this machine and the double as its AWS plugin."""

    def environ(self) -> dict[str, str]:
        """Return the environment in which programs use this double: never the real cloud, never a real login."""
        return KEYS | {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "XDG_CACHE_HOME": str(self.cache),
            "PULUMI_HOME": str(self.cache / "llm-deploy" / "pulumi" / "home"),
        }

    def other_account(self) -> dict[str, str]:
        """Return the variables with which programs log in to another account of the same cloud."""
        role = f"arn:aws:iam::{OTHER_ACCOUNT}:role/somebody"
        login = self.client("sts").assume_role(RoleArn=role, RoleSessionName="somebody")["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": login["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": login["SecretAccessKey"],
            "AWS_SESSION_TOKEN": login["SessionToken"],
        }

    def client(self, service: str, region: str = "ap-northeast-2") -> Any:
        """Return a client with which a test reads or changes resources."""
        return boto3.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )


@contextmanager
def running_aws(folder: Path) -> Iterator[RunningAws]:
    """Start the simulated cloud and end it with the block; `folder` gets the files that the engine needs to find it."""
    with serving("tests.doubles.aws.cloud") as url:
        cache = cache_with_plugin(folder, "aws", url_variable="AWS_ENDPOINT_URL", environ_prefix="AWS_")
        yield RunningAws(url, Control(url), cache)
