"""Resources in the simulated GCP, made as the plugin makes them: those of a stack whose state is lost."""

from infra.clouds.gcp.api.labels import own_labels
from infra.contract.stack_placement import KnownPlacement
from tests.doubles.gcp.client import Gcp
from tests.doubles.gcp.seed import PROJECT, UBUNTU_24

MINE, OTHER = "0123abcd", "4567cdef"
ZONE = "asia-northeast3-a"

PLACEMENT = KnownPlacement.model_validate(
    {
        "id": MINE,
        "project": PROJECT,
        "region": "asia-northeast3",
        "began_at": "2026-11-21T12:00:00Z",
        "image_name": "ubuntu-24.04",
        "image": f"projects/ubuntu-os-cloud/global/images/{UBUNTU_24}",
        "machine_type": "e2-standard-4",
        "zone": ZONE,
        "zones": [ZONE],
    }
)


def make_disk(gcp: Gcp, identity: str, size_gib: int = 20, **labels: str) -> str:
    """Make a data disk; return its path."""
    path = f"projects/{PROJECT}/zones/{ZONE}/disks/llm-prod-{identity}-1-data"
    gcp.insert(
        path, {"type": "pd-balanced", "sizeGb": size_gib, "labels": own_labels("prod", identity) | labels}, "Disk"
    )
    return path


def make_stack(gcp: Gcp, identity: str) -> str:
    """Make all resources of a stack, some of which block the removal of others; return the path of its instance."""
    labels = own_labels("prod", identity)
    name, region = f"llm-prod-{identity}", ZONE.rpartition("-")[0]
    network = f"projects/{PROJECT}/global/networks/{name}"
    subnet = f"projects/{PROJECT}/regions/{region}/subnetworks/{name}"
    policy = f"projects/{PROJECT}/regions/{region}/resourcePolicies/{name}"
    email = f"llm-{identity}@{PROJECT}.iam.gserviceaccount.com"
    gcp.insert(network, {"autoCreateSubnetworks": False}, "Network")
    gcp.insert(subnet, {"network": network, "ipCidrRange": "10.83.0.0/16"}, "Subnetwork")
    gcp.insert(f"projects/{PROJECT}/global/firewalls/{name}-ssh-v4", {"network": network}, "Firewall")
    gcp.insert(policy, {"instanceSchedulePolicy": {}}, "ResourcePolicy")
    address = gcp.insert(f"projects/{PROJECT}/regions/{region}/addresses/{name}-1", {"labels": labels}, "Address")
    account = f"projects/{PROJECT}/serviceAccounts/{email}"
    gcp.insert(account, {"email": email, "displayName": name}, "service account")
    own = f"llm-{identity}-gateway@{PROJECT}.iam.gserviceaccount.com"
    account = f"projects/{PROJECT}/serviceAccounts/{own}"
    gcp.insert(account, {"email": own, "displayName": f"{name}-gateway"}, "service account")
    members = [f"serviceAccount:{each}" for each in (email, own)]
    gcp.store.policy["bindings"].append({"role": "roles/logging.logWriter", "members": members})
    gcp.insert(f"b/{name}", {"location": "ASIA-NORTHEAST3"}, "Bucket")
    gcp.insert(f"b/{name}/o/weights", {"name": "weights"}, "object")
    gcp.insert(f"billingAccounts/012345-6789AB-CDEF01/budgets/{name}", {"displayName": name}, "Budget")
    gcp.insert(f"projects/{PROJECT}/notificationChannels/{name}", {"displayName": name}, "NotificationChannel")
    disk = make_disk(gcp, identity)
    instance = f"projects/{PROJECT}/zones/{ZONE}/instances/{name}-1"
    image = f"projects/ubuntu-os-cloud/global/images/{UBUNTU_24}"
    params = {"sourceImage": image, "diskSizeGb": 60, "diskType": "pd-balanced", "labels": labels}
    access = {"natIP": address["address"], "networkTier": "PREMIUM"}
    body = {
        "labels": labels,
        "machineType": f"zones/{ZONE}/machineTypes/e2-standard-4",
        "disks": [
            {"boot": True, "autoDelete": True, "initializeParams": params},
            {"source": disk, "mode": "READ_WRITE"},
        ],
        "networkInterfaces": [{"subnetwork": subnet, "accessConfigs": [access]}],
        "scheduling": {},
        "metadata": {"items": []},
        "serviceAccounts": [{"email": email}],
        "resourcePolicies": [policy],
    }
    gcp.insert(instance, body, "instance")
    return instance
