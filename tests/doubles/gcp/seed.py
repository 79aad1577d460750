"""What GCP has before anyone makes anything: regions, zones, machine types and accelerators by zone, images, quotas."""

from typing import Any

PROJECT, NUMBER = "my-project-123456", "123456789012"
BILLING_ACCOUNT = "012345-6789AB-CDEF01"
AGENT = f"serviceAccount:service-{NUMBER}@compute-system.iam.gserviceaccount.com"

ZONES = {
    "asia-northeast3": ("a", "b", "c"),
    "asia-northeast1": ("a", "b", "c"),
    "us-central1": ("a", "b", "c", "f"),
}

CPU_TYPES = (
    *(f"e2-standard-{cpus}" for cpus in (2, 4, 8, 16)),
    *(f"n1-standard-{cpus}" for cpus in (4, 8)),
    *(f"n2-standard-{cpus}" for cpus in (4, 8, 16)),
    *(f"n2-highmem-{cpus}" for cpus in (8, 16)),
)
"""In every zone."""

L4_TYPES = tuple(f"g2-standard-{cpus}" for cpus in (4, 8, 12, 16, 24, 32, 48, 96))
A100_TYPES = tuple(f"a2-highgpu-{count}g" for count in (1, 2, 4, 8))
H100_TYPES = tuple(f"a3-highgpu-{count}g" for count in (1, 2, 4, 8))

L4_ZONES = ("asia-northeast3-a", "asia-northeast3-b", "us-central1-a", "us-central1-b", "us-central1-c")

SOME_ZONES = {
    **dict.fromkeys(L4_TYPES, L4_ZONES),
    **dict.fromkeys(A100_TYPES, ("asia-northeast3-b", "us-central1-a", "us-central1-c", "us-central1-f")),
    **dict.fromkeys(H100_TYPES, ("us-central1-a", "us-central1-c")),
    **dict.fromkeys(("c3-standard-4", "c3-standard-8", "c3-standard-22"), ("us-central1-a", "us-central1-b")),
}  # fmt: skip
"""Zones of the other types, chosen for the tests; the real ones change."""

T4 = "nvidia-tesla-t4"
T4_ZONES = ("asia-northeast3-b", "asia-northeast3-c", "us-central1-a", "us-central1-b", "us-central1-f")

BUILT_IN = {"g2": "nvidia-l4", "a2": "nvidia-tesla-a100", "a3": "nvidia-h100-80gb"}
"""Accelerators that a family brings."""

UBUNTU_24 = "ubuntu-2404-noble-amd64-v20260601"
UBUNTU_24_NEWER = "ubuntu-2404-noble-amd64-v20260701"
UBUNTU_22 = "ubuntu-2204-jammy-v20260601"
DEEP_LEARNING = "common-cu129-ubuntu-2204-nvidia-580-v20260601"

FAMILIES = {
    ("ubuntu-os-cloud", "ubuntu-2404-lts-amd64"): UBUNTU_24,
    ("ubuntu-os-cloud", "ubuntu-2204-lts"): UBUNTU_22,
    ("deeplearning-platform-release", "common-cu129-ubuntu-2204-nvidia-580"): DEEP_LEARNING,
}
IMAGES = {
    "ubuntu-os-cloud": (UBUNTU_24, UBUNTU_24_NEWER, UBUNTU_22),
    "deeplearning-platform-release": (DEEP_LEARNING,),
}

QUOTAS: dict[str, float] = {
    "CPUS": 72,
    "N2_CPUS": 72,
    "C3_CPUS": 72,
    "NVIDIA_L4_GPUS": 4,
    "NVIDIA_T4_GPUS": 4,
    "NVIDIA_A100_GPUS": 0,
    "PREEMPTIBLE_NVIDIA_L4_GPUS": 4,
    "PREEMPTIBLE_NVIDIA_T4_GPUS": 4,
    "PREEMPTIBLE_NVIDIA_A100_GPUS": 4,
    "SSD_TOTAL_GB": 2000,
    "STATIC_ADDRESSES": 8,
    "GPUS_ALL_REGIONS": 4,
    "CPUS_ALL_REGIONS": 96,
}
"""Quotas of each region; the last two are those of the project."""

GLOBAL_QUOTAS = ("GPUS_ALL_REGIONS", "CPUS_ALL_REGIONS")

SERVICES = (
    "compute.googleapis.com",
    "iam.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "storage.googleapis.com",
    "billingbudgets.googleapis.com",
    "cloudbilling.googleapis.com",
    "monitoring.googleapis.com",
)


def zone_names() -> list[str]:
    """Return every zone."""
    return [f"{region}-{letter}" for region, letters in ZONES.items() for letter in letters]


def zones_of_type(machine_type: str) -> tuple[str, ...]:
    """Return the zones that offer a machine type."""
    return tuple(zone_names()) if machine_type in CPU_TYPES else SOME_ZONES.get(machine_type, ())


def vcpus_of(machine_type: str) -> int:
    """Return the processors of a type. Names of A2 and A3 give the number of GPUs, with 12 and 26 for each."""
    family, _kind, size = machine_type.split("-")
    if size.endswith("g"):
        return int(size.removesuffix("g")) * (26 if family == "a3" else 12)
    return int(size)


def gpus_of(machine_type: str) -> int:
    """Return how many GPUs a type brings."""
    family, _kind, size = machine_type.split("-")
    if family == "g2":
        return {24: 2, 48: 4, 96: 8}.get(int(size), 1)
    return int(size.removesuffix("g")) if family in BUILT_IN else 0


def project_policy() -> dict[str, Any]:
    """Return who may do what in the project at first: the owner, and the service that runs schedules."""
    return {
        "version": 1,
        "etag": "BwX",
        "bindings": [
            {"role": "roles/owner", "members": ["user:owner@example.com"]},
            {"role": "roles/compute.instanceAdmin.v1", "members": [AGENT]},
        ],
    }
