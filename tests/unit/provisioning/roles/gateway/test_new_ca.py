"""A new CA of the checkout while requests run: a real gateway before a real door, and `provision` with its notes."""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.errors import HostError
from core.paths import state_dir
from infra.contract.outputs import HostRecord
from provisioning.access.certificates import authorities, each_pem, issuer_of
from provisioning.access.door_certificates import doors_of_old_ca
from provisioning.apply import provision as module
from provisioning.apply.provision import provision
from provisioning.apply.trusted_cas import note_list
from provisioning.converge.resources import File, Resource, Secret
from provisioning.converge.result import HostResult
from provisioning.hosts.installed_names import all_names, note_names
from provisioning.hosts.target import Target
from provisioning.roles.gateway.process import Places
from serving.spec.models import GatewaySpec
from tests.doors import pool_of, running_door
from tests.doubles.engine import running_engine
from tests.gateways import RunningGateway, gateway_before, gateway_spec, vllm_serving, wait_for
from tests.unit.provisioning.records import host_values, stack

GATE, ENGINE = "gate", "gpu-1"
JSON = "Content-Type: application/json"
BODY = b'{"model":"tiny","prompt":"The rent","max_tokens":4}'


class Served:
    """One gateway's host and one host behind it, both with a real HAProxy; `provision` brings them to their lists."""

    def __init__(self, gateway: RunningGateway, door: RunningGateway) -> None:
        self.running = {GATE: gateway, ENGINE: door}
        self.failed: list[str] = []
        self.answered = 0
        self.cut: str | None = None
        """Where the next provision ends: `before HOST`, `after HOST` or `note HOST`."""

    def bring(self, host: HostRecord, resources: Callable[[], Sequence[Resource]], **_: Any) -> HostResult:
        """Do what the agent does for the two files; HAProxy reloads if one changes."""
        self._stop_at(f"before {host.name}")
        running, wanted = self.running[host.name], Places()
        theirs = {wanted.certificate: running.places.certificate, wanted.ca: running.places.ca}
        if host.name == GATE:
            del theirs[wanted.certificate]  # it is for other names than this test's address
        changed = False
        for each in resources():
            if isinstance(each, File) and each.path in theirs:
                text = each.content.value if isinstance(each.content, Secret) else str(each.content)
                path = Path(theirs[each.path])
                changed |= not path.exists() or path.read_text() != text
                path.write_text(text)
        if changed:
            running.reload()
        self._stop_at(f"after {host.name}")
        return HostResult(host=host.name, ok=True)

    def note(self, *arguments: Any) -> None:
        """Note what a host has, unless the run is killed just before."""
        if self.cut == f"note {arguments[1].name}":
            self.cut = None
            raise KeyboardInterrupt
        note_list(*arguments)

    def provision(self) -> bool:
        """Run it once; return whether it came to its end."""
        try:
            return provision(Target(stack="test"), names=[], roles=("gateway",), at_once=8) == 0
        except (HostError, KeyboardInterrupt):
            return False

    def trusted(self) -> list[str]:
        """Return what the gateway trusts."""
        return each_pem(Path(self.running[GATE].places.ca).read_text())

    def shown(self) -> str | None:
        """Return the CA of the door's certificate, if the gateway trusts it."""
        return issuer_of(Path(self.running[ENGINE].places.certificate).read_text(), self.trusted())

    def ask(self) -> None:
        """Send one request and count its answer."""
        reply = self.running[GATE].ask("POST", "/v1/completions", JSON, body=BODY)
        self.answered += 1
        if reply.status != 200:
            self.failed.append(f"{reply.status} {reply.body!r}")

    @contextmanager
    def load(self) -> Iterator[None]:
        """Have a client send one request after the other meanwhile."""
        end = threading.Event()

        def send() -> None:
            while not end.is_set():
                try:
                    self.ask()
                except OSError as error:
                    self.failed.append(repr(error))

        client = threading.Thread(target=send)
        client.start()
        try:
            yield
        finally:
            end.set()
            client.join()

    def _stop_at(self, place: str) -> None:
        if self.cut == place:
            self.cut = None
            raise HostError("the connection was lost", where=place)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("new-ca")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as undo:
        patch.setenv("LLM_DEPLOY_STATE", str(folder / "state"))
        patch.setenv("LLM_DEPLOY_RUNS", str(folder / "runs"))
        patch.delenv("LLM_DEPLOY_RUN", raising=False)
        engine = undo.enter_context(running_engine())
        for name in (GATE, ENGINE):
            (folder / name).mkdir()
        ca, spec, serving = state_dir() / "ca", gateway_spec(), vllm_serving(engine.port)
        door = undo.enter_context(running_door(folder / ENGINE, ca, serving, GatewaySpec(), name=ENGINE))
        trusted = folder / "door-ca.pem"
        shutil.copy(ca / "ca.pem", trusted)
        pools = [pool_of([door], serving)]
        gateway = undo.enter_context(gateway_before(folder / GATE, pools, spec, door_ca=trusted))
        hosts = (host_values(name, address=f"203.0.113.{n}") for n, name in enumerate((GATE, ENGINE), start=7))
        outputs = stack(*hosts, gateway_host=GATE)
        note_names(outputs, all_names(outputs))
        running = Served(gateway, door.running)
        patch.setattr(module, "load", lambda _: outputs)
        patch.setattr(module, "bring", running.bring)
        patch.setattr(module, "note_list", running.note)
        wait_for(lambda: gateway.engine_is("UP", ENGINE), "the door")
        assert running.provision()
        yield running


CUTS = [
    (0, None),
    (0, f"after {ENGINE}"),
    (0, f"note {GATE}"),
    (1, f"note {ENGINE}"),
    (1, f"before {GATE}"),
    (1, f"after {GATE}"),
]
"""How many provisions come to their end before the one that is cut off, and where that is."""


@pytest.mark.parametrize(("runs_before", "cut"), CUTS)
def test_a_new_ca_fails_no_request_wherever_a_provision_is_cut_off(
    served: Served, runs_before: int, cut: str | None
) -> None:
    old = served.shown()
    with served.load():
        shutil.rmtree(state_dir() / "ca")
        for _ in range(runs_before):
            assert served.provision()
        served.cut = cut
        assert served.provision() is (cut is None)
        for _ in range(3):
            assert served.provision()
        assert doors_of_old_ca("test") == ()
        before = served.answered
        wait_for(lambda: served.answered > before + 2, "requests after the end")
    assert served.failed == []
    assert served.trusted() == authorities(state_dir() / "ca") == [served.shown()]
    assert served.shown() != old
