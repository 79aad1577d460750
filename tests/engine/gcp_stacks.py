"""Stack files for tests in the simulated GCP, and functions that list what it has of them."""

from datetime import UTC, datetime
from typing import Any

import yaml

from tests.doubles.gcp.running import RunningGcp
from tests.doubles.gcp.seed import PROJECT

REGION = "asia-northeast3"
A, B, C = (f"{REGION}-{letter}" for letter in "abc")

MODEL = "{name: qwen, source: {kind: hub, repo: Qwen/Qwen2.5-0.5B-Instruct, revision: " + "7a" * 20 + "}}"

CPU = """\
config:
  llm-deploy:deployment:
    cloud: gcp
    project: {project}
    region: {region}
    zones: [{zones}]
    machine: {{{machine}}}
    network:
      ssh_cidrs: [198.18.0.7/32]
      client_cidrs: [198.18.0.0/24, "2001:2::/48"]
    lifetime: {lifetime}
    {more}
    serving: {{model: {model}}}
"""

OWN = ["instances", "disks", "addresses", "resourcePolicies", "subnetworks"]


def stack_text(
    machine: str = "type: e2-standard-8",
    *,
    zones: str = f"{A}, {B}",
    more: str = "",
    region: str = REGION,
    lifetime: str = "{ttl_hours: 8}",
) -> str:
    """Return a stack file."""
    places = {"project": PROJECT, "region": region, "zones": zones}
    return CPU.format(**places, machine=machine, more=more, lifetime=lifetime, model=MODEL)


def with_gateway(text: str) -> str:
    """Return a stack file with a machine of its own for the gateway."""
    return text.replace("    serving:", "    gateway: {machine: {}}\n    serving:")


def with_pool(text: str, machine: str) -> str:
    """Return a stack file of `with_gateway` with two machines in a pool of their own."""
    model = MODEL.replace("qwen,", "large,")
    pool = f"{{machine: {{{machine}, count: 2}}, serving: {{model: {model}}}}}"
    return text.replace("    serving:", f"    pools: {{large: {pool}}}\n    serving:")


def stack_value(machine: str = "type: e2-standard-8", *, zones: str = f"{A}, {B}", more: str = "") -> Any:
    """Return the deployment of a stack file."""
    return yaml.safe_load(stack_text(machine, zones=zones, more=more))["config"]["llm-deploy:deployment"]


def located(gcp: RunningGcp, collection: str) -> dict[str, Any]:
    """Return the Compute resources of a kind in all zones and regions, by path."""
    scopes = gcp.call(f"/compute/v1/projects/{PROJECT}/aggregated/{collection}")["items"].values()
    found = [each for scope in scopes for each in scope[collection]]
    return {each["selfLink"].partition("/v1/")[2]: each for each in found}


def instances(gcp: RunningGcp) -> dict[str, Any]:
    """Return the instances by path."""
    return located(gcp, "instances")


def ends_at(machine: Any) -> str:
    """Return when GCP ends an instance, in the format of our outputs."""
    end = datetime.fromisoformat(machine["scheduling"]["terminationTime"])
    return f"{end.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def data_disks(gcp: RunningGcp) -> dict[str, str]:
    """Return the id of each data disk by path: a new disk of the same name has another id."""
    return {path: each["id"] for path, each in located(gcp, "disks").items() if path.endswith("-data")}


def everything(gcp: RunningGcp) -> list[str]:
    """Return all resources of the project except those that GCP creates in every project."""
    found = [path for collection in OWN for path in located(gcp, collection)]
    for collection in ("networks", "firewalls"):
        found += [each["selfLink"] for each in gcp.call(f"/compute/v1/projects/{PROJECT}/global/{collection}")["items"]]
    found += [each["name"] for each in gcp.call(f"/v1/projects/{PROJECT}/serviceAccounts")["accounts"]]
    found += [each["name"] for each in gcp.call("/storage/v1/b")["items"]]
    policy = gcp.call(f"/v3/projects/{PROJECT}:getIamPolicy", "POST")
    return found + [f"{each['role']} {member}" for each in policy["bindings"] for member in each["members"]]
