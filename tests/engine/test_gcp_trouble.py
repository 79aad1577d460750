"""Errors on GCP: no stock, quotas, permissions, logins, killed commands."""

from typing import Any

import pytest

from tests.doubles.gcp.running import RunningGcp
from tests.engine.checkout import Checkout, wait_until
from tests.engine.gcp_stacks import A, B, data_disks, ends_at, everything, instances, stack_text
from tests.slowness import patient

SPOT = "type: g2-standard-4, market: spot, fallbacks: [g2-standard-8]"
US = "us-central1"
ZONES = f"{US}-a, {US}-b, {US}-c"


def test_spot_stack_is_placed_in_the_second_zone_if_the_first_has_no_stock(
    gcp_checkout: Checkout, gcp: RunningGcp
) -> None:
    stack = gcp_checkout.stack("gcp-spot", stack_text(SPOT, zones=ZONES, region=US))
    gcp.control.set(out_of_stock=[{"zone": f"{US}-a", "market": "spot"}])

    done = gcp_checkout.run("up", stack)

    assert done.returncode == 0, done.stderr
    ((path, machine),) = instances(gcp).items()
    assert f"/zones/{US}-b/" in path
    assert machine["scheduling"]["provisioningModel"] == "SPOT"
    assert len(data_disks(gcp)) == 1
    outcomes = [each["outcome"] for each in gcp_checkout.result(stack, "up.json")["places"]]
    assert outcomes == ["out of stock", "placed"]


def test_an_existing_stack_without_stock_stays_in_the_zone_of_its_disk(gcp_checkout: Checkout, gcp: RunningGcp) -> None:
    """A new type stops the host and a new end of life replaces it, but neither moves it to another zone."""
    stack = gcp_checkout.stack("gcp-waits", stack_text(zones=f"{A}, {B}"))
    gcp_checkout.run("up", stack)
    (before,), disks = instances(gcp), data_disks(gcp)

    def change(**file: str) -> dict[str, Any]:
        """Apply a change without stock in zone a, then with stock; return the instance."""
        gcp_checkout.stack(stack, stack_text(**file))
        gcp.control.set(out_of_stock=[{"zone": A}])
        refused = gcp_checkout.run("up", stack)
        assert refused.returncode == 1
        assert f"the data volume is in {A}" in refused.stderr
        assert set(instances(gcp)) <= {before}, "nothing may be created in another zone"
        gcp.control.set()
        done = gcp_checkout.run("up", stack)
        assert done.returncode == 0, done.stderr
        assert data_disks(gcp) == disks
        return dict(instances(gcp)[before])

    larger = change(machine="type: e2-standard-16")
    assert (larger["machineType"].rpartition("/")[2], larger["status"]) == ("e2-standard-16", "RUNNING")
    replaced = change(machine="type: e2-standard-16", lifetime="{ttl_hours: 9}")
    (host,) = gcp_checkout.outputs(stack)["hosts"]
    assert replaced["id"] != larger["id"]
    assert ends_at(replaced) == host["ends_at"] != ends_at(larger)

    same = {"machine": "type: e2-standard-16", "lifetime": "{ttl_hours: 9}", "zones": ""}
    gcp_checkout.stack(stack, stack_text(**same).replace("198.18.0.7", "198.18.0.8"))
    gcp.control.set(zones_down=[A])
    done = gcp_checkout.run("up", stack)
    assert done.returncode == 0, done.stderr
    assert instances(gcp)[before]["id"] == replaced["id"], "the host must not be created again"
    assert data_disks(gcp) == disks


def test_up_ends_on_a_denied_permission_and_down_removes_all(gcp_checkout: Checkout, gcp: RunningGcp) -> None:
    before = everything(gcp)
    stack = gcp_checkout.stack("gcp-stop", stack_text())
    gcp.control.set(refused={"instances.insert": "forbidden"})

    done = gcp_checkout.run("up", stack)

    assert done.returncode == 1
    assert "forbidden" in done.stderr
    assert gcp.control.calls().count("instances.insert") == 1
    assert gcp_checkout.run("down", stack).returncode == 0
    assert everything(gcp) == before


def test_a_quota_used_up_after_preflight_ends_the_search(gcp_checkout: Checkout, gcp: RunningGcp) -> None:
    """Preflight found enough quota, then somebody else used it: no other zone or type has more of it."""
    stack = gcp_checkout.stack("gcp-quota", stack_text("type: e2-standard-8, fallbacks: [n2-standard-8]"))
    gcp.control.set(hold_s={"addresses.insert": 5})

    with gcp_checkout.started("up", stack) as up:
        wait_until(lambda: "addresses.insert" in gcp.control.calls(), 120)
        gcp.control.set(quotas={"CPUS_ALL_REGIONS": 0})
        status = up.process.wait(patient(120))

    assert status == 1
    assert "Quota 'CPUS_ALL_REGIONS' exceeded" in up.log.read_text()
    assert gcp.control.calls().count("instances.insert") == 1


def test_up_resumes_after_a_killed_up_and_down_removes_all(gcp_checkout: Checkout, gcp: RunningGcp) -> None:
    before = everything(gcp)
    stack = gcp_checkout.stack("gcp-cut", stack_text())

    gcp.control.set(hold_s={"instances.insert": 20})  # the instance exists, but the engine never gets its id
    with gcp_checkout.started("up", stack) as up:
        wait_until(lambda: bool(instances(gcp)), 120)
        up.kill_all()
    gcp.control.set()

    done = gcp_checkout.run("up", stack)

    assert done.returncode == 0, done.stderr
    assert len(instances(gcp)) == 1
    assert gcp_checkout.run("down", stack).returncode == 0
    assert everything(gcp) == before


def test_preflight_lists_all_problems_and_creates_nothing(gcp_checkout: Checkout, gcp: RunningGcp) -> None:
    stack = gcp_checkout.stack("gcp-look", stack_text("type: g2-standard-4", zones=f"{US}-f", region=US))
    gcp.control.set(quotas={"NVIDIA_L4_GPUS": 0, "GPUS_ALL_REGIONS": 0})

    done = gcp_checkout.run("up", stack)

    assert done.returncode == 1
    assert "3 things are wrong" in done.stderr
    assert f"g2-standard-4 is not offered in {US}-f; it is offered in {US}-a, {US}-b, {US}-c" in done.stderr
    assert "quota NVIDIA_L4_GPUS (us-central1): 0, 0 in use, 1 needed" in done.stderr
    assert "quota GPUS_ALL_REGIONS (all regions): 0, 0 in use, 1 needed" in done.stderr
    assert not [call for call in gcp.control.calls() if call.endswith(".insert")]


@pytest.mark.parametrize(
    ("login", "environ", "reported"),
    [
        pytest.param("expired", {}, "GCP credentials: ", id="expired"),
        pytest.param("good", {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere.json"}, "GCP credentials: ", id="no file"),
    ],
)
def test_reports_a_wrong_login_in_one_line(
    gcp_checkout: Checkout, gcp: RunningGcp, login: str, environ: dict[str, str], reported: str
) -> None:
    stack = gcp_checkout.stack("gcp-login", stack_text())
    gcp.control.set(login=login)

    done = gcp_checkout.shell(gcp_checkout.command("up", "--stack", stack), **environ)

    assert done.returncode == 2
    assert f"error: {reported}" in done.stderr
    assert "Traceback" not in done.stderr
