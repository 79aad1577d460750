"""Which Pulumi backend is used, and the settings for it."""

import json
from pathlib import Path

import pytest

from core.errors import UsageError
from infra.automation.backend import find_backend


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout's state folder, and a home folder without a Pulumi login."""
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "state"


def log_in(folder: Path, current: str | None) -> None:
    """Write the file that `pulumi login` writes; after `pulumi logout` its `current` is empty."""
    folder.mkdir(parents=True)
    (folder / "credentials.json").write_text(json.dumps({"current": current}))


def test_by_default_the_state_is_in_the_state_folder_of_the_checkout(state: Path) -> None:
    backend = find_backend({})

    assert backend.ours
    assert backend.settings["PULUMI_BACKEND_URL"] == f"file://{state}/pulumi"
    assert backend.settings["PULUMI_CONFIG_PASSPHRASE_FILE"] == f"{state}/pulumi-passphrase"
    assert (state / "pulumi-passphrase").stat().st_mode & 0o777 == 0o600


def test_the_default_backend_ignores_the_passphrase_of_other_projects(state: Path) -> None:  # noqa: ARG001
    assert find_backend({"PULUMI_CONFIG_PASSPHRASE": "theirs"}).settings["PULUMI_CONFIG_PASSPHRASE"] is None


def test_the_passphrase_is_created_once(state: Path) -> None:
    find_backend({})
    first = (state / "pulumi-passphrase").read_text()
    find_backend({})

    assert (state / "pulumi-passphrase").read_text() == first
    assert len(first) >= 40


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"a\x00b"], ids=["empty", "blank", "no text", "NUL"])
def test_a_damaged_passphrase_is_reported_before_the_engine_starts(state: Path, content: bytes) -> None:
    find_backend({})
    (state / "pulumi-passphrase").write_bytes(content)

    with pytest.raises(UsageError, match="pulumi-passphrase: holds no passphrase; restore it from a copy"):
        find_backend({})


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        ({"PULUMI_BACKEND_URL": "s3://team-state"}, "s3://team-state"),
        ({"PULUMI_ACCESS_TOKEN": "pul-0123"}, "Pulumi Cloud (PULUMI_ACCESS_TOKEN)"),
    ],
)
def test_a_backend_in_the_environment_is_used_unchanged(state: Path, environ: dict[str, str], shown: str) -> None:
    backend = find_backend(environ)

    assert (backend.ours, backend.settings, backend.shown) == (False, {}, shown)
    assert not state.exists()


@pytest.mark.parametrize("variable", [None, "PULUMI_HOME", "PULUMI_CREDENTIALS_PATH"])
def test_uses_the_backend_of_a_pulumi_login(state: Path, tmp_path: Path, variable: str | None) -> None:
    folder = tmp_path / "elsewhere" if variable else tmp_path / "home" / ".pulumi"
    log_in(folder, "https://api.pulumi.com")

    backend = find_backend({variable: str(folder)} if variable else {})

    assert not backend.ours
    assert backend.shown == "https://api.pulumi.com (pulumi login)"
    assert not state.exists()


@pytest.mark.parametrize("content", ['{"current": ""}', '{"current": null}', "{}", "[]", "no json"])
def test_uses_the_default_backend_after_a_logout(state: Path, tmp_path: Path, content: str) -> None:  # noqa: ARG001
    log_in(tmp_path / "home" / ".pulumi", None)
    (tmp_path / "home" / ".pulumi" / "credentials.json").write_text(content)

    assert find_backend({}).ours


def test_only_the_default_backend_lists_its_stacks_without_a_call(state: Path) -> None:
    ours = find_backend({})
    assert ours.knows("llm-deploy", "demo") is False

    folder = state / "pulumi" / ".pulumi" / "stacks" / "llm-deploy"
    folder.mkdir(parents=True)
    (folder / "demo.json").touch()

    assert ours.knows("llm-deploy", "demo") is True
    assert ours.knows("llm-deploy", "dem") is False
    assert find_backend({"PULUMI_BACKEND_URL": "s3://x"}).knows("llm-deploy", "demo") is None


def test_removes_only_the_half_written_notes_of_the_stack(state: Path) -> None:
    ours = find_backend({})
    folder = state / "pulumi" / ".pulumi"
    torn = [folder / "stacks/llm-deploy/demo.json.attrs", folder / "locks/organization/llm-deploy/demo/1.json.attrs"]
    whole = [folder / "stacks/llm-deploy/demo.json.bak.attrs", folder / "stacks/llm-deploy/demo.json"]
    others = [folder / "stacks/llm-deploy/demo-2.json.attrs", folder / "locks/organization/llm-deploy/demo-2/1.attrs"]
    for path, text in [*((each, "") for each in torn + others), *((each, "{}") for each in whole)]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    ours.drop_torn_notes("llm-deploy", "demo")

    assert [each for each in torn + whole + others if each.exists()] == whole + others
