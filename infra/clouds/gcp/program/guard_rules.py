"""Rules for resources on GCP, beside the rules for every cloud; infra/clouds/program/guards.py applies them."""

from collections.abc import Iterator

from infra.clouds.gcp.api.labels import LABELLED, STACK
from infra.clouds.program.guards import Guards, Props

INSTANCE = "gcp:compute/instance:Instance"
FIREWALL = "gcp:compute/firewall:Firewall"

WIDE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
WIDE_ROLES = ("roles/owner", "roles/editor", "roles/viewer")
DEFAULT_ACCOUNT = "-compute@developer.gserviceaccount.com"

ALL_PORTS = "0-65535"
"""The ports that a firewall rule without ports opens."""


def spot_stays_gone(kind: str, props: Props) -> Iterator[str]:
    """A preempted spot machine does not start again automatically."""
    scheduling = props.get("scheduling") or {}
    if kind == INSTANCE and scheduling.get("provisioningModel") == "SPOT":
        if scheduling.get("automaticRestart") is not False:
            yield "no persistent spot machine: write automaticRestart false"
        if scheduling.get("instanceTerminationAction") != "DELETE":
            yield "no persistent spot machine: write instanceTerminationAction DELETE"


def ends_by_itself(kind: str, props: Props) -> Iterator[str]:
    """GCP ends every machine at a fixed time, also after a restart, and even if nobody runs `down`."""
    scheduling = props.get("scheduling") or {}
    if kind == INSTANCE and not scheduling.get("terminationTime"):
        yield "an end of life: write scheduling.terminationTime"
    if kind == INSTANCE and scheduling.get("instanceTerminationAction") != "DELETE":
        yield "no disks after the end of life: write scheduling.instanceTerminationAction DELETE"


def keys_are_ours(kind: str, props: Props) -> Iterator[str]:
    """Only the stack's own key gives access to a machine."""
    metadata = props.get("metadata") or {}
    if kind == INSTANCE and str(metadata.get("block-project-ssh-keys")).lower() != "true":
        yield "project keys blocked: write metadata block-project-ssh-keys true"
    if kind == INSTANCE and str(metadata.get("serial-port-enable", "false")).lower() not in ("false", "0"):
        yield "no serial console: write metadata serial-port-enable false"


def shielded(kind: str, props: Props) -> Iterator[str]:
    """The boot is measured. Secure boot depends on the machine: unsigned drivers do not load under it."""
    config = props.get("shieldedInstanceConfig") or {}
    if kind == INSTANCE and not (config.get("enableVtpm") is True and config.get("enableIntegrityMonitoring") is True):
        yield "shielded: write enableVtpm and enableIntegrityMonitoring true"


def identity_is_small(kind: str, props: Props) -> Iterator[str]:
    """A machine has its own service account, with few scopes and no role on the whole project."""
    if kind == INSTANCE:
        account = props.get("serviceAccount") or {}
        email = account.get("email")
        if not email or (isinstance(email, str) and email.endswith(DEFAULT_ACCOUNT)):
            yield "a service account of its own: the project's default one may edit everything"
        if WIDE_SCOPE in (account.get("scopes") or []):
            yield "least scopes: cloud-platform includes all of them"
    if kind.startswith("gcp:projects/iAM") and props.get("role") in WIDE_ROLES:
        yield f"least roles: {props['role']} applies to the whole project"


def labelled(kind: str, props: Props) -> Iterator[str]:
    """Every resource can be found again."""
    if kind in LABELLED and STACK not in (props.get("labels") or {}):
        yield f"labels present: the label {STACK} is missing"


def others_stay_reachable(kind: str, props: Props) -> Iterator[str]:
    """A firewall rule applies to the stack's machines only: an existing network has other machines too."""
    if kind == FIREWALL and not props.get("targetServiceAccounts"):
        yield "others' machines left alone: write targetServiceAccounts; a rule without it is for all machines"


def no_public_bucket(kind: str, props: Props) -> Iterator[str]:
    """Buckets are private."""
    if kind == "gcp:storage/bucket:Bucket":
        if props.get("publicAccessPrevention") != "enforced":
            yield "no public bucket: write publicAccessPrevention enforced"
        if props.get("uniformBucketLevelAccess") is not True:
            yield "no public bucket: write uniformBucketLevelAccess true"
    members = [props.get("member"), *(props.get("members") or [])]
    if kind.startswith("gcp:storage/bucketIAM") and {"allUsers", "allAuthenticatedUsers"} & set(map(str, members)):
        yield "no public bucket: everyone has a role on it"


def open_ports(kind: str, props: Props) -> Iterator[tuple[int, int]]:
    """Yield the ranges of TCP ports that a resource opens to the outside. A protocol may be a number, too."""
    if kind != FIREWALL or props.get("direction", "INGRESS") != "INGRESS":
        return
    for rule in props.get("allows") or []:
        if rule.get("protocol") in ("tcp", "6", "all"):
            for port in rule.get("ports") or [ALL_PORTS]:
                low, _dash, high = str(port).partition("-")
                yield int(low), int(high or low)


GUARDS = Guards(
    rules=(
        spot_stays_gone,
        ends_by_itself,
        keys_are_ours,
        shielded,
        identity_is_small,
        labelled,
        others_stay_reachable,
        no_public_bucket,
    ),
    open_ports=open_ports,
)
