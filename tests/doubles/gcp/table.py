"""All kinds of the GCP double."""

from tests.doubles.gcp.client import Gcp
from tests.doubles.gcp.kinds import bucket, budget, disk, identity, instance, network
from tests.doubles.provider.kind import Function, Kind

KINDS: tuple[Kind[Gcp], ...] = (
    network.Network(),
    network.Subnetwork(),
    network.Firewall(),
    network.Address(),
    disk.Disk(),
    disk.ResourcePolicy(),
    instance.Instance(),
    identity.Account(),
    identity.ProjectMember(),
    identity.BucketMember(),
    bucket.Bucket(),
    budget.Budget(),
    budget.NotificationChannel(),
)

FUNCTIONS: tuple[Function[Gcp], ...] = ()
