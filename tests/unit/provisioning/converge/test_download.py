"""The agent's requests for a download; tests/machine tests a whole download."""

from types import SimpleNamespace
from typing import Any

import pytest

from provisioning.converge.agent.kinds import download
from tests.doubles.hub import REPO, REVISION, HubDouble, running_hub


@pytest.mark.usefixtures("old_urllib")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_redirect_is_followed_even_by_an_old_python(status: int) -> None:
    """Hosts with a Python before 3.11 reported the 308 of a permanently moved server as an error."""
    host: Any = SimpleNamespace(blobs=SimpleNamespace(path=lambda _: None))
    with running_hub(HubDouble({"config.json": b"{}"})) as hub:
        path = f"/{REPO}/resolve/{REVISION}/config.json"
        hub.busy = [(status, {"Location": path})]
        wanted = SimpleNamespace(url=f"{hub.url}/moved", sha256="0" * 64)
        with download._ask(wanted, host, 0) as answer:
            assert answer.read() == b"{}"
