"""How a stack file is read, and the errors for a wrong one."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import ConfigError, run_cli
from infra.config import DeploymentConfig, load_stack
from infra.config.reader import DEPLOYMENT_KEY
from infra.lifecycle.commands import main
from tests.unit.infra.config.conftest import CASES, WriteStack, cases, changed
from tools.tiny_model import make_tiny_model

REFUSED = sorted(path.stem for path in CASES.glob("*.yaml") if path.stem not in ("bases", "accepted", "text"))

SAMPLE_SECRETS = (
    "QwErTyUiOpAsDfGhJkLzXcVbNm",
    "correcthorse",
    "12345678}",
    "hunter2",
    "AKIAIOSFODNN7EXAMPLE",
    "BEGIN OPENSSH",
)


def _load() -> int:
    load_stack("case")
    return 0


def _text(deployment: Any) -> str:
    return yaml.safe_dump({"config": {DEPLOYMENT_KEY: deployment}}, sort_keys=False)


@pytest.mark.parametrize("case", [case for name in REFUSED for case in cases(name)])
def test_a_wrong_value_is_one_error_line_and_nothing_is_created(
    case: dict[str, Any],
    bases: dict[str, Any],
    write_stack: WriteStack,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """`up` prints its purpose and exactly the lines of the table. Exit status 2, no state, no secret in the output."""
    write_stack(_text(changed(bases[case["base"]], case)))

    status = run_cli(lambda: main(("up", "--stack", "case")))

    shown = capsys.readouterr()
    announced, *lines = shown.err.splitlines()
    assert announced.startswith("up: ")
    assert lines == [f"error: stacks/Pulumi.case.yaml: {line}" for line in case["lines"]]
    assert status == 2
    assert shown.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stacks"]
    assert not [secret for secret in SAMPLE_SECRETS if secret in shown.err]


def test_the_tables_have_enough_cases_with_unique_names() -> None:
    """At least 70 wrong configs, and no two cases of a table with the same name."""
    tables = {name: yaml.safe_load((CASES / f"{name}.yaml").read_text()) for name in REFUSED}
    assert sum(map(len, tables.values())) >= 70
    for name, table in tables.items():
        names = [case["case"] for case in table]
        assert sorted(set(names)) == sorted(names), name


@pytest.mark.parametrize("case", cases("accepted"))
def test_a_valid_value_is_accepted(case: dict[str, Any], bases: dict[str, Any], write_stack: WriteStack) -> None:
    """Valid values close to rejected ones."""
    write_stack(_text(changed(bases[case["base"]], case)))
    assert isinstance(load_stack("case"), DeploymentConfig)


@pytest.mark.parametrize("case", cases("text"))
def test_a_wrong_file_is_one_error_line(
    case: dict[str, Any], write_stack: WriteStack, capsys: pytest.CaptureFixture[str]
) -> None:
    """YAML that cannot be read, or that is not a stack file."""
    write_stack(case["text"])
    assert run_cli(_load) == 2
    assert capsys.readouterr().err.splitlines() == [f"error: stacks/Pulumi.case.yaml: {case['line']}"]


@pytest.mark.parametrize(
    ("stack", "line"),
    [
        ("locla", "error: stacks/Pulumi.locla.yaml: there is no stack locla; did you mean local?"),
        ("prod", "error: stacks/Pulumi.prod.yaml: there is no stack prod; write one of local, mine"),
        ("../other", "error: '../other': is not a stack name; write lower-case letters, digits and -, "
                     "starting with a letter, at most 40"),
        ("Local", "error: 'Local': is not a stack name; did you mean local?"),
        ("stacks/Pulumi.local.yaml", "error: 'stacks/Pulumi.local.yaml': is not a stack name; did you mean local?"),
        ("Other", "error: 'Other': is not a stack name; write lower-case letters, digits and -, "
                  "starting with a letter, at most 40"),
        ("x" * 41, f"error: '{'x' * 41}': is not a stack name; write lower-case letters, digits and -, "
                   "starting with a letter, at most 40"),
        ("", "error: '': is not a stack name; write lower-case letters, digits and -, "
             "starting with a letter, at most 40"),
    ],
)  # fmt: skip
def test_an_unknown_stack_lists_the_known_ones(
    stack: str, line: str, stacks_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that no file has, and names that no file can have."""
    for name in ("local", "mine"):
        (stacks_dir / f"Pulumi.{name}.yaml").touch()
    assert run_cli(lambda: len(load_stack(stack).zones)) == 2
    assert capsys.readouterr().err.splitlines() == [line]


def test_reports_that_there_is_no_stack_file(stacks_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty folder."""
    assert not list(stacks_dir.iterdir())
    assert run_cli(lambda: len(load_stack("local").zones)) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: stacks/Pulumi.local.yaml: there is no stack local; there are none yet, see stacks/README.md"
    ]


def test_keys_of_pulumi_and_its_providers_are_ignored(bases: dict[str, Any], write_stack: WriteStack) -> None:
    """`pulumi stack init` writes encryptionsalt, and users configure providers beside the project's key."""
    write_stack(
        "encryptionsalt: v1:abc\nsecretsprovider: passphrase\nenvironment: [company]\n"
        + yaml.safe_dump({"config": {"aws:region": "us-east-1", "aws:profile": "x", DEPLOYMENT_KEY: bases["local"]}})
    )
    assert load_stack("case").cloud == "local"


def test_a_config_is_immutable(bases: dict[str, Any], write_stack: WriteStack) -> None:
    """The config is read once, so every step has the same one."""
    write_stack(_text(bases["local"]))
    config = load_stack("case")
    with pytest.raises(ValueError, match="frozen"):
        config.machine.count = 2  # type: ignore[misc]


def test_rejects_more_tags_than_a_cloud_allows(
    bases: dict[str, Any], write_stack: WriteStack, capsys: pytest.CaptureFixture[str]
) -> None:
    """AWS would refuse a resource with a 51st tag in the middle of `up`."""
    for count, status in ((40, 0), (41, 2)):
        write_stack(_text(changed(bases["aws"], {"set": {"tags": {f"t{each}": "x" for each in range(count)}}})))
        assert run_cli(_load) == status
    assert capsys.readouterr().err == "error: stacks/Pulumi.case.yaml: tags: has 41 entries; write at most 40\n"


def test_a_model_and_an_adapter_from_folders_are_accepted(
    bases: dict[str, Any], write_stack: WriteStack, tmp_path: Path
) -> None:
    """Files of a user who trained an adapter. They are checked before anything is created."""
    tiny = make_tiny_model("exaone", tmp_path)
    adapter = {"name": "contract", "source": {"kind": "folder", "path": str(tiny.adapter("a"))}, "rank": 8}
    changes = {
        "serving/model/source": {"kind": "folder", "path": str(tiny.base)},
        "serving/model/accept_licence": "exaone-1.1-nc",
        "serving/adapters": [adapter],
    }
    write_stack(_text(changed(bases["local"], {"set": changes})))
    assert load_stack("case").serving.served_names == ("tiny", "contract", "contract@1")


def test_a_private_key_that_others_can_read_is_refused(
    bases: dict[str, Any], write_stack: WriteStack, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """SSH also refuses such a key, but only when the machine already costs money."""
    key = tmp_path / "id_ed25519"
    key.write_text("key")
    key.chmod(0o644)
    deployment = changed(bases["aws"], {"set": {"machine/identity_file": str(key)}})
    write_stack(_text(deployment))
    assert run_cli(_load) == 2
    assert capsys.readouterr().err == (
        f"error: stacks/Pulumi.case.yaml: machine.identity_file: others on this computer can read {key}; "
        f"run chmod 600 {key}\n"
    )
    key.chmod(0o600)
    assert run_cli(_load) == 0


def test_a_gcp_bucket_is_refused_for_a_stack_with_google_in_its_name(bases: dict[str, Any], stacks_dir: Path) -> None:
    """GCP refuses bucket names with google in them, and the bucket's name has the stack's name in it."""
    value = bases["gcp"] | {"storage": {"bucket": {}}}
    text = yaml.safe_dump({"config": {"llm-deploy:deployment": value}})
    for stack in ("my-google-test", "g00gle", "plain"):
        (stacks_dir / f"Pulumi.{stack}.yaml").write_text(text)

    assert load_stack("plain").storage.bucket is not None
    for stack in ("my-google-test", "g00gle"):
        with pytest.raises(ConfigError, match=f"storage.bucket: cannot be created for a stack called {stack}"):
            load_stack(stack)
