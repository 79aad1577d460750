"""The states of a gateway's servers: of all pools, and none where no gateway runs."""

from pathlib import Path

from provisioning.programs.gateway.server_states import states
from tests.doubles.engine import EngineDouble
from tests.gateways import engine_pool, gateway_before, gateway_spec


def test_servers_of_all_pools_have_a_state(tmp_path: Path, engine: EngineDouble) -> None:
    engine.models = ("tiny", "large")
    pools = [engine_pool({"a": engine}), engine_pool({"b": engine}, names=("large",), name="large")]
    with gateway_before(tmp_path, pools, gateway_spec()) as gateway:
        gateway.admin("set server large/b state maint")
        seen = states(gateway.places.admin_socket)
    assert seen["main/a"].startswith("UP")
    assert seen["large/b"] == "MAINT"


def test_no_gateway_has_no_servers(tmp_path: Path) -> None:
    assert states(str(tmp_path / "admin.sock")) == {}
