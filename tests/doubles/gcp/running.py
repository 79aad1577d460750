"""The simulated GCP as a separate process, and the environment in which programs take it for the real one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from infra.clouds.gcp.api.client import HOSTS, OVERRIDE
from tests.doubles.gcp.rest import TOKEN
from tests.doubles.gcp.seed import PROJECT
from tests.doubles.gcp.settings import Control
from tests.doubles.provider.process import cache_with_plugin, serving

URL_VARIABLE = f"{OVERRIDE}COMPUTE"


@dataclass(frozen=True)
class RunningGcp:
    """GCP as a test uses it."""

    url: str
    control: Control
    folder: Path
    """Has the login, and a cache with the Pulumi CLI of this machine and the double as its GCP plugin."""

    def environ(self) -> dict[str, str]:
        """Return the environment in which programs use this double: never the real cloud, never a real login."""
        cache = self.folder / "cache"
        return endpoints(self.url) | {
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.folder / "login.json"),
            "XDG_CACHE_HOME": str(cache),
            "PULUMI_HOME": str(cache / "llm-deploy" / "pulumi" / "home"),
        }

    def call(self, path: str, method: str = "GET") -> Any:
        """Send the cloud a request with which a test reads or changes resources."""
        request = Request(self.url + path, method=method, headers={"Authorization": f"Bearer {TOKEN}"})  # noqa: S310
        with urlopen(request, timeout=30) as answer:  # noqa: S310  # our own server on loopback
            return json.loads(answer.read())


def endpoints(url: str) -> dict[str, str]:
    """Return the variables that send every service to one place, and keep logins from asking where they run."""
    return {f"{OVERRIDE}{service.upper()}": url for service in HOSTS} | {"NO_GCE_CHECK": "true"}


def write_login(path: Path, url: str) -> None:
    """Write the key of a service account that gets its tokens from the double."""
    from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    email = f"operator@{PROJECT}.iam.gserviceaccount.com"
    login = {"type": "service_account", "client_email": email, "private_key": private, "private_key_id": "1"}
    path.write_text(json.dumps(login | {"project_id": PROJECT, "token_uri": f"{url}/token"}))


@contextmanager
def running_gcp(folder: Path) -> Iterator[RunningGcp]:
    """Start the simulated cloud and end it with the block; `folder` gets the files that the engine needs to find it."""
    with serving("tests.doubles.gcp.cloud") as url:
        write_login(folder / "login.json", url)
        (folder / "cache").mkdir()
        cache_with_plugin(folder / "cache", "gcp", url_variable=URL_VARIABLE, environ_prefix="GOOGLE_")
        yield RunningGcp(url, Control(url), folder)
