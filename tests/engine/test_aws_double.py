"""The double of the AWS plugin under the real engine: which inputs it accepts and which it rejects."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.doubles.aws.running import RunningAws
from tests.slowness import patient
from tools.pulumi.cli import PulumiCli

NETWORK = """
import pulumi, pulumi_aws as aws
cidr = pulumi.Config().get("cidr") or "10.83.0.0/16"
options = pulumi.ResourceOptions(provider=aws.Provider("p", region="ap-northeast-2"))
network = aws.ec2.Vpc("network", cidr_block=cidr, opts=options)
group = aws.ec2.SecurityGroup("group", vpc_id=network.id, opts=options)
pulumi.export("network", network.id)
pulumi.export("group", group.id)
"""

UNKNOWN_INPUT = """
import pulumi
class Network(pulumi.CustomResource):
    def __init__(self):
        super().__init__("aws:ec2/vpc:Vpc", "network", {"cidrBlock": "10.83.0.0/16", "enableDnsHostname": True})
Network()
"""

WRONG_TYPE = """
import pulumi_aws as aws
aws.ec2.Vpc("network", cidr_block="10.83.0.0/16", enable_dns_hostnames="yes")
"""


GUARDED = """
import pulumi_aws as aws
from infra.clouds.aws.program.guard_rules import GUARDS
TAGS = {"tags": {"llm-deploy:stack": "test"}}
GUARDS.install(lambda kind, name, props: {**props, **TAGS} if "vpc" in kind else props)
network = aws.ec2.Vpc("network", cidr_block="10.83.0.0/16")
aws.vpc.SecurityGroupIngressRule("rule", security_group_id=network.default_security_group_id, ip_protocol="tcp",
    from_port=22, to_port=22, cidr_ipv4="0.0.0.0/0")
"""


class Program:
    """A small Pulumi project with its own stack."""

    def __init__(self, folder: Path, text: str, cli: PulumiCli, aws: RunningAws) -> None:
        self._folder = folder
        self._cli = cli
        self._environ = (
            cli.environment()
            | aws.environ()
            | {
                "PULUMI_BACKEND_URL": f"file://{folder}",
                "PULUMI_CONFIG_PASSPHRASE": "x",
                "AWS_REGION": "ap-northeast-2",
                "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",  # else each run tries to fetch the GCP plugin
                "PATH": os.pathsep.join((cli.environment()["PATH"], os.environ["PATH"])),
            }
        )
        (folder / "Pulumi.yaml").write_text("name: small\nruntime: python\n")
        (folder / "__main__.py").write_text(text)
        self.run("stack", "init", "test")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the CLI and wait until it ends."""
        return subprocess.run(
            [str(self._cli.program), "--non-interactive", *arguments],
            cwd=self._folder,
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=patient(300),
        )

    def changes(self, verb: str, *arguments: str) -> dict[str, int]:
        """Run a verb and return the number of resources by operation, including the stack and its provider."""
        done = self.run(verb, "--json", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        summaries = [each["summaryEvent"]["resourceChanges"] for each in events if "summaryEvent" in each]
        return dict(summaries[-1])


@pytest.fixture
def program(tmp_path: Path, cli: PulumiCli, aws: RunningAws) -> Program:
    return Program(tmp_path, NETWORK, cli, aws)


def test_up_replaces_and_destroys_two_resources(program: Program, aws: RunningAws) -> None:
    up = ("up", "--yes", "--skip-preview")
    assert program.changes(*up) == {"create": 4}

    program.run("config", "set", "cidr", "10.84.0.0/16")
    assert program.changes(*up) == {"replace": 2, "same": 2}

    assert program.changes("destroy", "--yes", "--skip-preview") == {"delete": 4}
    networks = aws.client("ec2").describe_vpcs(Filters=[{"Name": "is-default", "Values": ["false"]}])
    assert networks["Vpcs"] == []


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        pytest.param(UNKNOWN_INPUT, "enableDnsHostname: the SDK knows no such input", id="unknown input"),
        pytest.param(WRONG_TYPE, "enableDnsHostnames: is text, not bool", id="wrong type"),
    ],
)
def test_rejects_wrong_inputs(tmp_path: Path, cli: PulumiCli, aws: RunningAws, text: str, reported: str) -> None:
    done = Program(tmp_path, text, cli, aws).run("preview")

    assert done.returncode != 0
    assert reported.partition(": ")[2] in done.stdout
    assert reported.partition(": ")[0] in done.stdout


def test_a_guard_rejects_a_resource_before_it_is_created(tmp_path: Path, cli: PulumiCli, aws: RunningAws) -> None:
    """The engine calls the guard as a transform, with the inputs that the plugin would get."""
    done = Program(tmp_path, GUARDED, cli, aws).run("up", "--yes", "--skip-preview")

    assert done.returncode != 0
    assert "rule (aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule): no world-open SSH" in done.stdout
    assert "AuthorizeSecurityGroupIngress" not in aws.control.calls()
