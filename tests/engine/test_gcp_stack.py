"""A stack on GCP from preview to teardown: real CLI, engine and program, simulated cloud."""

import json
from typing import Any

from tests.doubles.gcp.running import RunningGcp
from tests.doubles.gcp.seed import UBUNTU_24, UBUNTU_24_NEWER
from tests.engine.checkout import Checkout, wait_until
from tests.engine.gcp_stacks import (
    A,
    data_disks,
    ends_at,
    everything,
    instances,
    located,
    stack_text,
    with_gateway,
    with_pool,
)


def test_up_after_down_uses_the_kept_disk_again(gcp_checkout: Checkout, gcp: RunningGcp) -> None:
    """A second up changes nothing; down lists the disk's cost; the state holds no secret in plain text."""
    before = everything(gcp)
    stack = gcp_checkout.stack("gcp-life", stack_text(more="storage: {data_gib: 100, keep_on_down: [data_volume]}"))

    up = gcp_checkout.run("up", stack)
    assert up.returncode == 0, up.stderr
    (machine,) = instances(gcp).values()
    (host,) = gcp_checkout.outputs(stack)["hosts"]
    assert host["address"] == machine["networkInterfaces"][0]["accessConfigs"][0]["natIP"]
    assert host["user"] == "ubuntu"
    assert host["host_keys"][0].startswith("ssh-ed25519 ")
    metadata = {each["key"]: each["value"] for each in machine["metadata"]["items"]}
    assert "OPENSSH PRIVATE KEY" in metadata["user-data"]
    assert "OPENSSH PRIVATE KEY" not in gcp_checkout.checkpoint(stack).read_text()

    again = gcp_checkout.run("up", stack)
    assert again.returncode == 0, again.stderr
    assert gcp_checkout.result(stack, "up.json")["changes"] == {}, again.stderr
    assert "OPENSSH PRIVATE KEY" not in gcp_checkout.checkpoint(stack).read_text(), (
        "a refresh must not write the key either"
    )
    assert gcp_checkout.changes() == ""

    disks = data_disks(gcp)
    down = gcp_checkout.run("down", stack)
    assert down.returncode == 0, down.stderr
    assert data_disks(gcp) == disks
    assert instances(gcp) == {}
    (kept,) = gcp_checkout.result(stack, "teardown.json")["kept"]
    assert "100 GiB" in kept
    assert "$13.00 a month" in kept
    assert gcp_checkout.run("up", stack).returncode == 0
    assert data_disks(gcp) == disks

    gcp_checkout.stack(stack, stack_text(more="storage: {data_gib: 100}"))
    done = gcp_checkout.run("down", stack)
    assert done.returncode == 0, done.stderr
    assert everything(gcp) == before
    assert gcp_checkout.result(stack, "teardown.json")["ok"] is True
    assert not (gcp_checkout.state / "stacks" / stack).exists()


def test_changes_keep_disk_address_and_host_key(gcp_checkout: Checkout, gcp: RunningGcp) -> None:
    """A type of the same family, of another one, a newer image, an instance deleted elsewhere, a smaller disk."""
    stack = gcp_checkout.stack("gcp-type", stack_text())
    gcp_checkout.run("up", stack)
    (before,), disks = instances(gcp).values(), data_disks(gcp)
    (host,) = gcp_checkout.outputs(stack)["hosts"]
    gcp.control.set(newest={"ubuntu-2404-lts-amd64": UBUNTU_24_NEWER})

    def changed(machine: str) -> dict[str, str]:
        """Change the machine type, check that disk, address and keys stayed, and return the instance."""
        gcp_checkout.stack("gcp-type", stack_text(machine))
        done = gcp_checkout.run("up", stack)
        assert done.returncode == 0, done.stderr
        (after,) = instances(gcp).values()
        assert data_disks(gcp) == disks
        (now,) = gcp_checkout.outputs(stack)["hosts"]
        assert (now["address"], now["host_keys"]) == (host["address"], host["host_keys"])
        assert ends_at(after) == host["ends_at"], "a start must not extend the end of life"
        assert after["disks"][0]["initializeParams"]["sourceImage"].endswith(UBUNTU_24)
        return dict(after)

    larger = changed("type: e2-standard-16")
    assert (larger["id"], larger["machineType"].rpartition("/")[2]) == (before["id"], "e2-standard-16")
    other = changed("type: n2-standard-8")
    assert other["id"] != before["id"], "GCP cannot change an instance to another machine family"
    (path,) = instances(gcp)
    gcp.call(f"/compute/v1/{path}", "DELETE")
    wait_until(lambda: not instances(gcp), 30)
    assert changed("type: n2-standard-8")["id"] != other["id"]

    gcp_checkout.stack("gcp-type", stack_text("type: n2-standard-8", more="storage: {data_gib: 12}"))
    refused = gcp_checkout.run("up", stack)
    assert refused.returncode == 2
    assert "a disk cannot shrink" in refused.stderr
    assert data_disks(gcp) == disks


def test_another_end_of_life_is_announced_and_replaces_the_host_but_not_its_disk(
    gcp_checkout: Checkout, gcp: RunningGcp
) -> None:
    """The plugin changes the expiry of the weekly schedule in place, but not the end of an instance."""
    before = everything(gcp)

    def up(ttl_hours: int) -> tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Apply a lifetime; return the printed lines, the host, the instance and the schedule."""
        weekly = "{start: '08:00', stop: '20:00', time_zone: Asia/Seoul}"
        gcp_checkout.stack("gcp-weekly", stack_text(lifetime=f"{{ttl_hours: {ttl_hours}, weekly: {weekly}}}"))
        done = gcp_checkout.run("up", "gcp-weekly")
        assert done.returncode == 0, done.stderr
        (machine,), (schedule,) = instances(gcp).values(), located(gcp, "resourcePolicies").values()
        (host,) = gcp_checkout.outputs("gcp-weekly")["hosts"]
        assert ends_at(machine) == host["ends_at"]
        assert schedule["instanceSchedulePolicy"]["expirationTime"] == host["ends_at"]
        return done.stderr, host, machine, schedule

    reported, host, machine, schedule = up(100)
    disks = data_disks(gcp)
    assert "is replaced" not in reported

    reported, longer, replaced, patched = up(300)

    why = "another end of life; data disk, address and host key stay"
    words = f"! {machine['name']} in {A} is replaced because of {why}"
    assert reported.index(words) < reported.index("make the machines")
    assert longer["ends_at"] > host["ends_at"]
    assert (longer["address"], longer["host_keys"]) == (host["address"], host["host_keys"])
    assert replaced["id"] != machine["id"]
    assert patched["id"] == schedule["id"]
    assert data_disks(gcp) == disks

    text = (gcp_checkout.folder / "stacks/Pulumi.gcp-weekly.yaml").read_text()
    _a_gateway_is_added(gcp_checkout, gcp, text, replaced)
    _a_pool_comes_and_goes(gcp_checkout, gcp, text)
    assert data_disks(gcp) == disks
    assert gcp_checkout.run("down", "gcp-weekly").returncode == 0
    assert everything(gcp) == before


def _a_gateway_is_added(checkout: Checkout, gcp: RunningGcp, text: str, host: dict[str, Any]) -> None:
    """Add the gateway's own machine beside a running host."""
    (path,), disks = instances(gcp), data_disks(gcp)
    checkout.stack("gcp-weekly", with_gateway(text))
    added = checkout.run("up", "gcp-weekly")
    assert added.returncode == 0, added.stderr
    found = {name.rpartition("/")[2]: each for name, each in instances(gcp).items()}
    gateway = found.pop(f"{host['name'].removesuffix('-1')}-gateway")
    assert [each["id"] for each in found.values()] == [host["id"]]
    assert gateway["machineType"].endswith("e2-standard-2")
    outputs = checkout.outputs("gcp-weekly")
    assert outputs["gateway_host"] == "gcp-weekly-gateway"
    assert {each["name"]: each["private_address"] for each in outputs["hosts"]} == {
        "gcp-weekly-1": instances(gcp)[path]["networkInterfaces"][0]["networkIP"],
        "gcp-weekly-gateway": gateway["networkInterfaces"][0]["networkIP"],
    }
    assert data_disks(gcp) == disks


def _a_pool_comes_and_goes(checkout: Checkout, gcp: RunningGcp, text: str) -> None:
    """Add a pool beside running machines, change nothing, and remove the pool: no other resource changes."""
    before, disks = instances(gcp), data_disks(gcp)
    checkout.stack("gcp-weekly", with_pool(with_gateway(text), "type: n2-standard-4"))
    added = checkout.run("up", "gcp-weekly")
    assert added.returncode == 0, added.stderr
    changes = checkout.result("gcp-weekly", "up.json")["changes"]
    assert changes.keys() == {"create"}, changes
    assert all("-large-" in each for each in changes["create"]), changes
    now = instances(gcp)
    assert {path: now[path] for path in before} == before
    new = {path.rpartition("-large-")[2]: now[path] for path in now.keys() - before.keys()}
    assert {number: each["machineType"].rpartition("/")[2] for number, each in new.items()} == dict.fromkeys(
        ("1", "2"), "n2-standard-4"
    )
    hosts = {each["name"]: each.get("pool", "main") for each in checkout.outputs("gcp-weekly")["hosts"]}
    assert hosts == {
        "gcp-weekly-1": "main",
        "gcp-weekly-large-1": "large",
        "gcp-weekly-large-2": "large",
        "gcp-weekly-gateway": "main",
    }

    again = checkout.run("up", "gcp-weekly")
    assert checkout.result("gcp-weekly", "up.json")["changes"] == {}, again.stderr
    assert "is replaced" not in again.stderr

    checkout.stack("gcp-weekly", with_gateway(text))
    removed = checkout.run("up", "gcp-weekly")
    assert removed.returncode == 0, removed.stderr
    changes = checkout.result("gcp-weekly", "up.json")["changes"]
    assert changes.keys() == {"delete"}, changes
    assert all("-large-" in each for each in changes["delete"]), changes
    assert instances(gcp) == before
    assert data_disks(gcp) == disks


def test_orphans_lists_only_resources_of_unknown_stacks(gcp_checkout: Checkout, gcp: RunningGcp) -> None:
    mine, other = gcp_checkout.stack("gcp-mine", stack_text()), gcp_checkout.stack("gcp-other", stack_text())
    gcp_checkout.run("up", other)
    alone = everything(gcp)
    gcp_checkout.run("up", mine)
    sweep = [str(gcp_checkout.folder / ".venv/bin/python"), "-m", "infra.lifecycle.orphans.command", "--cloud", "gcp"]
    placement = gcp_checkout.state / "stacks" / mine / "placement.json"
    noted = placement.read_text()
    placement.unlink()

    seen = gcp_checkout.shell(sweep).stdout

    orphans = [line for line in seen.splitlines() if line.startswith("orphan\t")]
    assert any("instance " in line for line in orphans), seen
    assert all("gcp-other" not in line for line in orphans)
    assert any(line.startswith("known\tnetwork") for line in seen.splitlines())
    refused = gcp_checkout.shell([*sweep, "--delete"])
    assert refused.returncode == 2, "the answer was not yes"
    assert len(instances(gcp)) == 2

    placement.write_text(noted)
    down = gcp_checkout.run("down", mine)
    assert down.returncode == 0, down.stderr
    assert sorted(everything(gcp)) == sorted(alone)
    assert json.loads((gcp_checkout.state / "stacks" / other / "placement.json").read_text())["zone"]
