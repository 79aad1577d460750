"""A copy of the checkout per run, and a state folder per test, for tests with the real Pulumi engine."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.clouds.local.machine import destroy_stack
from infra.clouds.local.parts import orphans
from tests.doubles.aws.running import RunningAws, running_aws
from tests.doubles.gcp.running import RunningGcp, running_gcp
from tests.engine.checkout import EXISTING, INVENTORY, LOCAL, Checkout, commit, copy_checkout
from tools.pulumi.cli import PulumiCli, find_cli
from tools.rootfs import ensure_rootfs


@pytest.fixture(scope="session")
def cli() -> PulumiCli:
    """The Pulumi CLI of this machine, fetched or built if it is missing."""
    return find_cli()


@pytest.fixture(scope="session")
def copied(tmp_path_factory: pytest.TempPathFactory, cli: PulumiCli) -> Path:  # noqa: ARG001  # made before it is used
    """A copy of this checkout."""
    folder = tmp_path_factory.mktemp("copy") / "llm-deploy"
    copy_checkout(folder)
    return folder


@pytest.fixture
def checkout(copied: Path, tmp_path: Path) -> Checkout:
    """The copy, with a state folder for this test."""
    return Checkout(copied, tmp_path)


@pytest.fixture
def inventory(copied: Path) -> Path:
    """The inventory of `existing`; the same file in each test, so that tests can share the state of an `up`."""
    file = copied.parent / "hosts.yaml"
    file.write_text(INVENTORY)
    return file


@pytest.fixture
def existing(checkout: Checkout, inventory: Path) -> Iterator[str]:
    """A stack of one existing host: it runs the whole engine without waiting for a machine."""
    yield checkout.stack("existing", EXISTING.format(inventory=inventory))
    commit(checkout.folder)  # a plain CLI writes a salt into the stack's file


@pytest.fixture
def local(checkout: Checkout) -> Iterator[str]:
    """A stack of one small machine on this host; its resources are removed after the test."""
    if os.geteuid() != 0:
        pytest.skip("real machines need root")
    ensure_rootfs()
    yield checkout.stack("local-test", LOCAL.format(cpus=2))
    owner = str(checkout.state.resolve())
    destroy_stack("local-test", owner=owner)
    assert orphans.of_stack("local-test", owner=owner) == []


@pytest.fixture(scope="session")
def simulated_aws(tmp_path_factory: pytest.TempPathFactory, cli: PulumiCli) -> Iterator[RunningAws]:  # noqa: ARG001
    """AWS simulated by moto, for the whole run."""
    with running_aws(tmp_path_factory.mktemp("aws")) as cloud:
        yield cloud


@pytest.fixture
def aws(simulated_aws: RunningAws) -> RunningAws:
    """The simulated AWS, empty and without errors."""
    simulated_aws.control.reset()
    return simulated_aws


@pytest.fixture
def cloud_checkout(checkout: Checkout, aws: RunningAws) -> Checkout:
    """The copy of the checkout, with the simulated AWS as its cloud and without the user's own login."""
    own = {name: value for name, value in checkout.environ.items() if not name.startswith("AWS_")}
    checkout.environ = own | aws.environ()
    return checkout


@pytest.fixture(scope="session")
def simulated_gcp(tmp_path_factory: pytest.TempPathFactory, cli: PulumiCli) -> Iterator[RunningGcp]:  # noqa: ARG001
    """GCP simulated by our double, for the whole run."""
    with running_gcp(tmp_path_factory.mktemp("gcp")) as cloud:
        yield cloud


@pytest.fixture
def gcp(simulated_gcp: RunningGcp) -> RunningGcp:
    """The simulated GCP, empty and without errors."""
    simulated_gcp.control.reset()
    return simulated_gcp


@pytest.fixture
def gcp_checkout(checkout: Checkout, gcp: RunningGcp) -> Checkout:
    """The copy of the checkout, with the simulated GCP as its cloud and without the user's own login."""
    logins = ("GOOGLE_", "CLOUDSDK_")
    own = {name: value for name, value in checkout.environ.items() if not name.startswith(logins)}
    checkout.environ = own | gcp.environ()
    return checkout
