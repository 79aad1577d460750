"""The key with which people log in: the user's own with its public half beside it, or one of the stack."""

from pathlib import Path

import pytest

from core.errors import ConfigError
from infra.clouds.program.login_key import login_key
from infra.clouds.program.ssh_key import make_key_pair


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_DEPLOY_STATE", str(tmp_path / "state"))


def test_the_users_own_key_is_taken_without_its_comment(tmp_path: Path) -> None:
    made = make_key_pair(tmp_path / "mine", comment="kim@laptop")

    assert login_key("prod", tmp_path / "mine") == made
    assert "kim@laptop" not in made.public


def test_without_one_the_stack_gets_its_own_and_keeps_it() -> None:
    first = login_key("prod", None)

    assert first.private_file.stat().st_mode & 0o777 == 0o600
    assert login_key("prod", None) == first
    assert login_key("other", None) != first


@pytest.mark.parametrize("public", [None, "", "ssh-ed25519"], ids=["missing", "empty", "cut off"])
def test_a_missing_or_invalid_public_key_names_the_command_that_makes_it(tmp_path: Path, public: str | None) -> None:
    private = tmp_path / "mine"
    if public is not None:
        private.with_name("mine.pub").write_text(public)

    with pytest.raises(ConfigError, match=f"mine.pub: cannot be read; make it with `ssh-keygen -y -f {private}"):
        login_key("prod", private)
