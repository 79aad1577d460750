"""Records of a machine that ends: to moto's S3 with the policy of the host's role, and to a double of Google's."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import settings
from moto.server import ThreadedMotoServer

from infra.clouds.aws.program.identity import host_policy
from provisioning.programs import modules, program
from tests.doubles.google_storage import StorageDouble, running_storage
from tests.slowness import patient

BUCKET = "llm-prod-0123abcd"
PREFIX = f"notices/{BUCKET}/"
JOURNAL = ["vllm.service", "llm-engine-watch.service"]
JOURNALCTL = "#!/bin/sh\nprintf '%s\\n' \"$*\" 'the last line'\n"


class Host:
    """The program as a role installs it, and its result."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "llm_fetch").mkdir()
        for name, text in modules("fetch/llm_fetch").items():
            (folder / "llm_fetch" / name).write_text(text)
        (folder / "send-records").write_text(program("host/send_records"))
        (folder / "journalctl").write_text(JOURNALCTL)
        (folder / "journalctl").chmod(0o755)
        (folder / "notice.json").write_text('{"kind": "terminate"}')
        (folder / "served.json").write_text('{"contract@1": {}}')

    def send(self, url: str, **environment: str) -> tuple[int, dict[str, Any]]:
        """Return exit status and result."""
        values = {
            "folder": url,
            "notice": f"{self.folder}/notice.json",
            "result": f"{self.folder}/sent.json",
            "files": {"adapters.json": f"{self.folder}/served.json", "none.json": f"{self.folder}/none"},
            "journals": {
                "access.log": ["haproxy.service"],
                "journal.log": ["vllm.service", "llm-engine-watch.service"],
            },
        }
        (self.folder / "settings.json").write_text(json.dumps(values))
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GOOGLE_"))}
        done = subprocess.run(
            [sys.executable, str(self.folder / "send-records"), str(self.folder / "settings.json")],
            env={**clean, "PATH": f"{self.folder}:{os.environ['PATH']}", "NO_PROXY": "127.0.0.1", **environment},
            timeout=patient(60),
            check=False,
        )
        return done.returncode, json.loads((self.folder / "sent.json").read_text())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@dataclass
class Bucket:
    """A client that may do everything, and the environment of a host with the role's policy."""

    owner: Any
    environment: dict[str, str]

    def gets(self, host: Host, url: str) -> tuple[int, dict[str, Any]]:
        """Let the host send its records, while moto enforces the policy."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
            return host.send(url, **self.environment)

    def objects(self) -> dict[str, bytes]:
        """Return its content."""
        listed = [each["Key"] for each in self.owner.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
        return {key: self.owner.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in listed}


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    """The stack's bucket in moto."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    known = {"region_name": "us-east-1", "aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    owner = boto3.client("s3", endpoint_url=url, **known)
    owner.create_bucket(Bucket=BUCKET)
    iam = boto3.client("iam", endpoint_url=url, **known)
    iam.create_user(UserName="host")
    policy = json.dumps(host_policy(f"arn:aws:s3:::{BUCKET}", "models/", PREFIX))
    iam.put_user_policy(UserName="host", PolicyName="host", PolicyDocument=policy)
    key = iam.create_access_key(UserName="host")["AccessKey"]
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    yield Bucket(owner, {"AWS_ENDPOINT_URL_S3": url, **keys})
    server.stop()


def test_the_role_may_add_records_and_they_are_complete(host: Host, bucket: Bucket) -> None:
    status, result = bucket.gets(host, f"s3://{BUCKET}/{PREFIX}gpu-1/")
    assert (status, result["problem"]) == (0, "")
    assert result["folder"].startswith(f"s3://{BUCKET}/{PREFIX}gpu-1/2")
    folder = result["folder"].removeprefix(f"s3://{BUCKET}/")
    found = {key.removeprefix(folder): body for key, body in bucket.objects().items()}
    assert found.keys() == {"notice.json", "adapters.json", "access.log.gz", "journal.log.gz"}
    assert found["adapters.json"] == b'{"contract@1": {}}'
    journal = gzip.decompress(found["journal.log.gz"]).decode()
    assert "--unit=vllm.service --unit=llm-engine-watch.service" in journal
    assert journal.endswith("the last line\n")


@pytest.mark.parametrize("folder", ["models/", "notices/another-stack/"])
def test_the_role_may_not_write_elsewhere_and_the_reason_is_kept(host: Host, bucket: Bucket, folder: str) -> None:
    status, result = bucket.gets(host, f"s3://{BUCKET}/{folder}")
    assert (status, result["folder"]) == (1, "")
    assert result["problem"].startswith("notice.json: HTTP 403 AccessDenied; adapters.json: ")
    assert not [key for key in bucket.objects() if key.startswith(folder)]


def test_googles_bucket_gets_them_with_the_machines_own_account(host: Host) -> None:
    double = StorageDouble({}, token="ya29.sample")
    double.may_add = "/acme/notices/"
    with running_storage(double) as storage:
        environment = {"STORAGE_EMULATOR_HOST": f"http://{storage.address}", "GCE_METADATA_HOST": storage.address}
        status, result = host.send("gs://acme/notices/gpu-1/", **environment)
    assert (status, result["problem"]) == (0, "")
    assert {path.rpartition("/")[2] for path in double.objects} == {
        "notice.json",
        "adapters.json",
        "access.log.gz",
        "journal.log.gz",
    }


def test_what_cannot_be_read_does_not_stop_the_rest(host: Host) -> None:
    (host.folder / "journalctl").write_text("#!/bin/sh\nexit 3\n")
    double = StorageDouble({}, token="ya29.sample")
    double.may_add = "/acme/"
    with running_storage(double) as storage:
        environment = {"STORAGE_EMULATOR_HOST": f"http://{storage.address}", "GCE_METADATA_HOST": storage.address}
        status, result = host.send("gs://acme/", **environment)
    assert status == 1
    assert result["folder"].startswith("gs://acme/")
    assert result["problem"].startswith("access.log.gz: Command '['journalctl'")
    assert {path.rpartition("/")[2] for path in double.objects} == {"notice.json", "adapters.json"}
