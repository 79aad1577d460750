"""Orphans on GCP: ours are found and removed in an order that works; other people's resources stay."""

import contextlib
import itertools
from pathlib import Path

import pytest

from core.errors import DeployError
from infra.clouds.gcp.cloud import CLOUD
from infra.clouds.gcp.orphans import search
from infra.clouds.gcp.orphans.in_network import others_in
from infra.clouds.gcp.orphans.search import find_resources, places, remove_resources
from infra.clouds.resources.kinds import CloudResource
from infra.clouds.stack_resources import find, kept, remove_orphans
from infra.config import load_stack, reader
from tests.doubles.gcp.client import Gcp
from tests.doubles.gcp.seed import PROJECT
from tests.doubles.gcp.settings import Settings
from tests.engine.gcp_stacks import stack_text
from tests.unit.infra.clouds.gcp.made import MINE, OTHER, PLACEMENT, ZONE, make_disk, make_stack


def no_sleep(_seconds: float) -> None:
    """Poll at once."""


def test_an_empty_project_has_no_orphans(gcp: Gcp) -> None:
    assert find_resources(gcp.project) == []


def test_all_of_a_stack_is_removed_and_the_other_stays(gcp: Gcp) -> None:
    for identity in (MINE, OTHER):
        make_stack(gcp, identity)
    others = set(find_resources(PROJECT, OTHER))
    mine = find_resources(PROJECT, MINE)
    assert {resource.kind for resource in mine} == {
        "address", "bucket", "budget", "disk", "firewall rule", "instance", "network", "notification channel",
        "project role", "schedule", "service account", "subnet",
    }  # fmt: skip
    assert sum(resource.kind == "disk" for resource in mine) == 2, "the root disk is found by its name"

    remove_resources(reversed(mine), sleep=no_sleep)

    assert find_resources(PROJECT, MINE) == []
    assert set(find_resources(PROJECT, OTHER)) == others


def test_resources_name_their_stack_and_owner(gcp: Gcp) -> None:
    path = make_disk(gcp, MINE, 20, **{"llm-deploy-keep": "yes"})

    (resource,) = find_resources(PROJECT)

    assert (resource.id, resource.placement_id, resource.stack, resource.keep) == (path, MINE, "prod", True)
    assert str(resource) == f"disk {path} in {ZONE}, 20 GiB (stack prod)"
    assert find(CLOUD, PLACEMENT) == []
    (line,) = kept(CLOUD, PLACEMENT)
    assert line.endswith("$2.60 a month")


def test_a_stopped_host_is_reported_with_its_cost(gcp: Gcp) -> None:
    path = make_stack(gcp, MINE)
    gcp.store.resources[path]["status"] = "TERMINATED"

    (line,) = [str(resource) for resource in find_resources(PROJECT) if resource.kind == "instance"]

    assert line.startswith(f"instance {path} in {ZONE} (stack prod): stopped; GCP ends only running hosts")


def test_a_failed_removal_is_reported_with_the_answer_of_gcp(gcp: Gcp) -> None:
    make_disk(gcp, MINE)
    gcp.store.settings = Settings(refused={"disks.delete": "forbidden"})
    now = itertools.count(step=100)

    with pytest.raises(DeployError, match="resources still exist after 240 s") as caught:
        remove_resources(find_resources(PROJECT, MINE), clock=lambda: float(next(now)), sleep=no_sleep)

    assert "disks.delete is refused" in caught.value.detail


@pytest.mark.parametrize("kind", ["disk", "address", "network"])
def test_a_removal_whose_operation_fails_is_repeated(gcp: Gcp, kind: str) -> None:
    """Compute accepts a request and runs it as an operation of a zone, a region or the project."""
    make_stack(gcp, MINE)
    action = {"disk": "disks.delete", "address": "addresses.delete", "network": "networks.delete"}[kind]
    gcp.store.settings = Settings(failing={action: 1})

    remove_resources(find_resources(PROJECT, MINE), sleep=no_sleep)

    assert find_resources(PROJECT, MINE) == []
    assert gcp.store.settings.failing == {action: 0}


def test_a_removal_that_always_fails_is_reported_with_the_error_of_its_operation(gcp: Gcp) -> None:
    make_disk(gcp, MINE)
    gcp.store.settings = Settings(failing={"disks.delete": 1000})
    now = itertools.count(step=10)

    with pytest.raises(DeployError, match="resources still exist after 240 s") as caught:
        remove_resources(find_resources(PROJECT, MINE), clock=lambda: float(next(now)), sleep=no_sleep)

    assert "Internal error. Please try again." in caught.value.detail
    assert gcp.store.calls.count("disks.delete") > 1


def test_a_resource_in_the_state_is_not_an_orphan(gcp: Gcp) -> None:
    """Nor is the root disk of an instance in the state, though the state does not list the disk."""
    instance = make_stack(gcp, MINE)
    known = {resource.id for resource in find_resources(PROJECT, MINE) if resource.kind != "disk"}
    data = f"{instance.replace('/instances/', '/disks/')}-data"

    assert remove_orphans(CLOUD, PLACEMENT, known | {data}, 60) == []
    assert instance in gcp.store.resources
    door = f"projects/{PROJECT}/global/firewalls/llm-prod-{MINE}-ssh-v4"
    (removed,) = remove_orphans(CLOUD, PLACEMENT, (known | {data}) - {door}, 60)
    assert removed.startswith("firewall rule")


def test_a_login_that_may_not_list_budgets_has_no_budget(gcp: Gcp) -> None:
    make_disk(gcp, MINE)
    gcp.store.settings = Settings(disabled=["cloudbilling.googleapis.com", "monitoring.googleapis.com"])

    assert [resource.kind for resource in find_resources(PROJECT, MINE)] == ["disk"]


LISTS = (
    "/aggregated/instances", "/aggregated/disks", "/aggregated/addresses", "/aggregated/resourcePolicies",
    "/aggregated/subnetworks", "/global/firewalls", "/global/networks", ":getIamPolicy", "/serviceAccounts",
    "/storage/v1/b$", "/billingInfo", "/budgets", "/notificationChannels",
)  # fmt: skip
"""Every path of the search."""


@pytest.mark.parametrize("path", LISTS)
def test_one_denied_list_does_not_keep_machines_or_disks(gcp: Gcp, path: str) -> None:
    make_stack(gcp, MINE)
    gcp.store.settings = Settings(denied=[path])
    found, now = find_resources(PROJECT, MINE), itertools.count(step=8)

    def time_goes_by(_seconds: float) -> None:
        gcp.store.of("instances", look=True)

    with contextlib.suppress(DeployError):
        remove_resources(
            found,
            clock=lambda: float(next(now)),
            sleep=time_goes_by,
        )

    assert not gcp.store.of("instances", look=True)
    assert not gcp.store.of("disks")
    assert found.unasked
    assert all("is not allowed" in str(each) for each in found.unasked)

    gcp.store.settings = Settings()
    remove_resources(find_resources(PROJECT, MINE), sleep=no_sleep)
    assert find_resources(PROJECT, MINE) == []


def test_a_kept_disk_stays_where_disks_may_not_be_listed(gcp: Gcp) -> None:
    make_stack(gcp, MINE)
    disk = data_disk(gcp)
    gcp.store.settings = Settings(denied=["/aggregated/disks"])

    assert disk in [resource.id for resource in find_resources(PROJECT, MINE) if resource.keep]


def data_disk(gcp: Gcp) -> str:
    """Mark the data disk of the stack as kept; return its path."""
    (path,) = [path for path in gcp.store.of("disks") if path.endswith("-data")]
    gcp.store.resources[path]["labels"]["llm-deploy-keep"] = "yes"
    return path


@pytest.mark.parametrize(
    ("parts", "reported"),
    [((), False), (("budget",), True), (None, True)],
    ids=["without a budget", "with a budget", "not recorded"],
)
def test_a_denied_list_counts_only_for_what_a_stack_may_have(
    gcp: Gcp, parts: tuple[str, ...] | None, reported: bool
) -> None:
    gcp.store.settings = Settings(denied=["/billingInfo"])

    lines = find(CLOUD, PLACEMENT.model_copy(update={"parts": parts}))

    assert bool(lines) is reported
    assert all(line.startswith("not known: budget in ") for line in lines)


def test_resources_of_others_in_our_network_are_named_and_stay(gcp: Gcp) -> None:
    """A rule of GKE kept the network: `down` always failed, and did not name the rule."""
    make_stack(gcp, MINE)
    network = f"projects/{PROJECT}/global/networks/llm-prod-{MINE}"
    rule = f"projects/{PROJECT}/global/firewalls/gke-front-1"
    gcp.insert(rule, {"network": network, "description": "of a cluster"}, "Firewall")
    now = itertools.count(step=20)

    with pytest.raises(DeployError, match="resources still exist") as caught:
        remove_resources(find_resources(PROJECT, MINE), clock=lambda: float(next(now)), sleep=no_sleep)

    reported = (
        "in it: firewall rule gke-front-1 (made by GKE); `gcloud compute firewall-rules delete gke-front-1 --project"
    )
    assert reported in caught.value.detail
    assert rule in gcp.store.resources


PLACE = f"projects/{PROJECT}/regions/asia-northeast3"
THEIRS = {
    f"{PLACE}/vpnGateways/ha": "vpn-gateways delete ha --region asia-northeast3",
    f"{PLACE}/targetVpnGateways/classic": "target-vpn-gateways delete classic --region asia-northeast3",
    f"{PLACE}/routers/nat": "routers delete nat --region asia-northeast3",
    f"{PLACE}/subnetworks/colleague": "networks subnets delete colleague --region asia-northeast3",
    f"{PLACE}/forwardingRules/front": "forwarding-rules delete front --region asia-northeast3",
    f"projects/{PROJECT}/global/forwardingRules/wide": "forwarding-rules delete wide --global",
    f"projects/{PROJECT}/zones/{ZONE}/networkEndpointGroups/neg": f"network-endpoint-groups delete neg --zone {ZONE}",
    f"projects/{PROJECT}/global/routes/onprem": "routes delete onprem",
    f"projects/{PROJECT}/global/firewalls/wide-open": "firewall-rules delete wide-open",
    f"projects/{PROJECT}/locations/asia-northeast3/connectors/run": (
        "networks vpc-access connectors delete run --region asia-northeast3"
    ),
}
"""Paths of a colleague's resources in a network -> the command that removes them, after `gcloud compute`."""


def network_of_others(gcp: Gcp) -> CloudResource:
    """Make a stack's network and another one, both with every resource that a colleague may have in it."""
    names = (f"llm-prod-{MINE}", "another")
    for name in names:
        network = f"projects/{PROJECT}/global/networks/{name}"
        gcp.insert(network, {"autoCreateSubnetworks": False}, "Network")
        end = "" if name == names[0] else "-elsewhere"
        for path in THEIRS:
            gcp.store.resources[f"{path}{end}"] = {"name": f"{path.rpartition('/')[2]}{end}", "network": network}
        for gateway, key in (("vpnGateways/ha", "vpnGateway"), ("targetVpnGateways/classic", "targetVpnGateway")):
            tunnel = f"tunnel-{key.lower()}{end}"
            gcp.store.resources[f"{PLACE}/vpnTunnels/{tunnel}"] = {"name": tunnel, key: f"{PLACE}/{gateway}{end}"}
        vlan = f"vlan{end}"
        router = f"{PLACE}/routers/nat{end}"
        gcp.store.resources[f"{PLACE}/interconnectAttachments/{vlan}"] = {"name": vlan, "router": router}
        for route, more in (("default-route-1", {}), ("peered", {"nextHopPeering": "theirs"})):
            path = f"projects/{PROJECT}/global/routes/{route}{end}"
            gcp.store.resources[path] = {"name": f"{route}{end}", "network": network} | more
        gcp.store.resources[network]["peerings"] = [{"name": f"shared{end}", "network": "projects/p/global/networks/n"}]
    (found,) = [resource for resource in find_resources(PROJECT, MINE) if resource.kind == "network"]
    return found


def test_gateways_routes_and_connectors_of_others_are_named_with_their_commands(gcp: Gcp) -> None:
    """A VPN gateway kept the network and was not named."""
    lines = others_in(network_of_others(gcp))

    tunnels = [
        f"vpn-tunnels delete tunnel-{each} --region asia-northeast3" for each in ("vpngateway", "targetvpngateway")
    ]
    more = [
        "interconnects attachments delete vlan --region asia-northeast3",
        f"networks peerings delete shared --network llm-prod-{MINE}",
    ]
    for command in (*THEIRS.values(), *tunnels, *more):
        assert [line for line in lines if line.endswith(f"`gcloud compute {command} --project {PROJECT}`")], command
    assert len(lines) == len(THEIRS) + len(tunnels) + len(more), "default and peering routes go with what made them"


@pytest.mark.parametrize(
    "path",
    [
        "/aggregated/vpnGateways", "/aggregated/targetVpnGateways", "/aggregated/vpnTunnels", "/aggregated/routers",
        "/aggregated/interconnectAttachments", "/aggregated/networkEndpointGroups", "/global/routes", "/connectors",
    ],
)  # fmt: skip
def test_one_denied_list_of_others_does_not_hide_the_rest(gcp: Gcp, path: str) -> None:
    network = network_of_others(gcp)
    everything = len(others_in(network))
    gcp.store.settings = Settings(denied=[path])

    lines = others_in(network)

    denied = [line for line in lines if line.startswith("not known: ")]
    assert denied
    assert all("is not allowed" in line for line in denied)
    assert len(lines) - len(denied) >= everything - 3, "a gateway, and its tunnels"


def test_a_service_that_is_not_enabled_has_no_connectors(gcp: Gcp) -> None:
    network = network_of_others(gcp)
    gcp.store.settings = Settings(disabled=["vpcaccess.googleapis.com"])

    lines = others_in(network)

    assert not [line for line in lines if "connector" in line or line.startswith("not known")]


def test_projects_are_those_of_stack_files_and_placements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example project in our stack files is left out: no user of this repository owns it."""
    (tmp_path / "stacks" / "gone").mkdir(parents=True)
    (tmp_path / "stacks" / "gone" / "placement.json").write_text('{"project": "another-project-1"}')
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    assert places() == ["another-project-1"]

    config = load_stack("gcp-cpu").model_copy(update={"project": "my-own-project-1"})
    monkeypatch.setattr(search, "load_stack", lambda _stack: config)
    assert places() == ["another-project-1", "my-own-project-1"]


def test_an_invalid_stack_file_does_not_hide_projects_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path))
    monkeypatch.setattr(reader, "STACKS_DIR", tmp_path)
    good = stack_text().replace(PROJECT, "my-own-project-1")
    (tmp_path / "Pulumi.good.yaml").write_text(good)
    (tmp_path / "Pulumi.broken.yaml").write_text("config: {llm-deploy:deployment: {cloud: aws, regoin: x}}\n")

    assert places() == ["my-own-project-1"]

    assert (
        "only stack broken names is not searched, because its file is invalid: stacks/Pulumi" in capsys.readouterr().err
    )
