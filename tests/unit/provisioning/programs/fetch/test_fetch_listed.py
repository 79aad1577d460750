"""Fetch folders of buckets and web servers as the host does: from moto's S3, and doubles of the others."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from core.paths import CHECKOUT
from provisioning.programs.fetch.llm_fetch.amazon import signed_headers
from tests.doubles.google_storage import StorageDouble, running_storage
from tests.slowness import patient

PROGRAM = CHECKOUT / "provisioning/programs/fetch/fetch_model.py"
WEIGHTS = bytes(range(256)) * 2048
FILES = {"config.json": b"{}", "a b/model.safetensors": WEIGHTS}
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GOOGLE_", "LLM_FETCH"))}
NOWHERE = "127.0.0.1:1"


def sums(files: dict[str, bytes]) -> bytes:
    """Return the output of sha256sum."""
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()).encode()


SUMS = sums(FILES)
PIN = hashlib.sha256(SUMS).hexdigest()


def fetch(url: str, folder: Path, *more: str, pin: str = PIN, **environment: str) -> tuple[int, str]:
    """Return exit status and stderr of the program."""
    no_cloud = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{NOWHERE}", "GCE_METADATA_HOST": NOWHERE}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), url, pin, str(folder), *more],
        env={**CLEAN, **no_cloud, "NO_PROXY": "127.0.0.1", **environment},
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    return done.returncode, done.stderr


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def storage() -> Iterator[StorageDouble]:
    """A bucket with the files below `models/base`, for clients with the token."""
    objects = {f"/acme/models/base/{name}": body for name, body in {**FILES, "SHA256SUMS": SUMS}.items()}
    with running_storage(StorageDouble(objects, token="ya29.sample")) as double:
        yield double


def of_google(storage: StorageDouble, folder: Path, *more: str, pin: str = PIN) -> tuple[int, str]:
    """Fetch like a machine in Google Cloud: the metadata server gives the token."""
    environment = {"STORAGE_EMULATOR_HOST": f"http://{storage.address}", "GCE_METADATA_HOST": storage.address}
    return fetch("gs://acme/models/base", folder, *more, pin=pin, **environment)


def test_a_gcs_bucket_is_read_with_the_machines_own_account(storage: StorageDouble, tmp_path: Path) -> None:
    assert of_google(storage, tmp_path / "base") == (0, "")
    assert content(tmp_path / "base") == FILES
    storage.asked.clear()
    assert of_google(storage, tmp_path / "base", "--check") == (0, "")
    assert storage.asked == []


def test_an_interrupted_transfer_resumes_where_it_stopped(storage: StorageDouble, tmp_path: Path) -> None:
    name = "/acme/models/base/a b/model.safetensors"
    storage.cut_after[name] = 100_000
    assert of_google(storage, tmp_path / "base") == (0, "")
    assert [wanted for method, path, wanted in storage.asked if (method, path) == ("GET", name)] == [
        "",
        "bytes=100000-",
    ]
    assert content(tmp_path / "base") == FILES


def test_a_bucket_is_read_with_the_token_of_the_run(storage: StorageDouble, tmp_path: Path) -> None:
    environment = {"STORAGE_EMULATOR_HOST": f"http://{storage.address}", "GOOGLE_OAUTH_ACCESS_TOKEN": "ya29.sample"}
    assert fetch("gs://acme/models/base", tmp_path / "base", **environment) == (0, "")


def test_a_missing_read_permission_is_reported(storage: StorageDouble, tmp_path: Path) -> None:
    status, said = fetch("gs://acme/models/base", tmp_path / "base", STORAGE_EMULATOR_HOST=f"http://{storage.address}")
    assert status == 1
    assert said.startswith("gs://acme/models/base/SHA256SUMS may not be read (403); give this host's role")


REFUSED: dict[str, tuple[Callable[[dict[str, bytes]], object], str, str]] = {
    "another list": (lambda bucket: bucket.update({"SHA256SUMS": b"0" * 64 + b"  x\n"}), PIN, "not " + PIN),
    "no list": (lambda bucket: bucket.pop("SHA256SUMS"), PIN, "has no SHA256SUMS; put all files and their SHA256SUMS"),
    "a file that is missing": (lambda bucket: bucket.pop("config.json"), PIN, "has no config.json"),
    "a name that leads elsewhere": (
        lambda bucket: bucket.update({"SHA256SUMS": sums({"../x": b""})}),
        hashlib.sha256(sums({"../x": b""})).hexdigest(),
        "leads elsewhere",
    ),
    "not a list of checksums": (
        lambda bucket: bucket.update({"SHA256SUMS": b"hello"}),
        hashlib.sha256(b"hello").hexdigest(),
        "is not a list of checksums; write it with sha256sum",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_content_that_differs_from_its_pin_is_refused(storage: StorageDouble, tmp_path: Path, name: str) -> None:
    change, pin, words = REFUSED[name]
    files = {key.removeprefix("/acme/models/base/"): body for key, body in storage.objects.items()}
    change(files)
    storage.objects = {f"/acme/models/base/{key}": body for key, body in files.items()}
    status, said = of_google(storage, tmp_path / "base", pin=pin)
    assert status == 1
    assert words in said
    assert len(said.splitlines()) == 1


def test_a_web_folder_is_read_with_its_token(tmp_path: Path) -> None:
    objects = {f"/contract/4/{name}": body for name, body in {**FILES, "SHA256SUMS": SUMS}.items()}
    with running_storage(StorageDouble(objects, token="sample")) as server:
        url = f"http://{server.address}/contract/4"
        assert fetch(url, tmp_path / "a", LLM_FETCH_TOKEN="sample") == (0, "")
        assert fetch(url, tmp_path / "b")[0] == 1
    assert content(tmp_path / "a") == FILES


def test_a_web_folder_without_tls_is_refused(tmp_path: Path) -> None:
    assert fetch("http://models.example.com/x", tmp_path / "a") == (1, "http://models.example.com/x is not https://\n")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The URL of moto's S3, with the files in a bucket."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret"
    )
    client.create_bucket(Bucket="acme-models")
    for name, body in {**FILES, "SHA256SUMS": SUMS}.items():
        client.put_object(Bucket="acme-models", Key=f"base/{name}", Body=body)
    yield url
    server.stop()


KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI"}


def test_an_s3_bucket_is_read_with_the_keys_of_the_run(s3: str, tmp_path: Path) -> None:
    assert fetch("s3://acme-models/base", tmp_path / "base", AWS_ENDPOINT_URL_S3=s3, **KEYS) == (0, "")
    assert content(tmp_path / "base") == FILES


def test_an_s3_bucket_is_read_with_the_machines_own_role(s3: str, tmp_path: Path) -> None:
    """moto's server is also the metadata service of an instance."""
    environment = {"AWS_ENDPOINT_URL_S3": s3, "AWS_EC2_METADATA_SERVICE_ENDPOINT": s3}
    assert fetch("s3://acme-models/base", tmp_path / "base", **environment) == (0, "")
    assert content(tmp_path / "base") == FILES


def test_a_request_is_signed_as_amazons_own_library_signs_it() -> None:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    url = "https://examplebucket.s3.eu-west-1.amazonaws.com/a%20b/model.safetensors"
    keys = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "session")
    request = AWSRequest(method="GET", url=url)
    S3SigV4Auth(Credentials(*keys), "s3", "eu-west-1").add_auth(request)
    moment = request.headers["X-Amz-Date"]
    ours = signed_headers("GET", url, keys, "eu-west-1", moment)
    assert ours["Authorization"] == request.headers["Authorization"]
