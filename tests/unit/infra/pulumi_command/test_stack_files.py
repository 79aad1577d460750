"""Stack files after the Pulumi CLI: its own additions are undone, a person's edits never."""

from pathlib import Path

import pytest

from infra.pulumi_command import stack_files
from infra.pulumi_command.stack_files import kept_as_written

WRITTEN = (
    "# why\nconfig:\n  llm-deploy:deployment:\n    cloud: local  # here\n    machine: {cpus: 2}\n  other:flag: true\n"
)
SALTED = (
    "config:\n  llm-deploy:deployment:\n    cloud: local\n    machine:\n      cpus: 2\n"
    '  other:flag: "true"\nencryptionsalt: v1:abc=\n'
)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stack_files, "STACKS_DIR", tmp_path)
    path = tmp_path / "Pulumi.prod.yaml"
    path.write_text(WRITTEN)
    return path


def test_a_salt_and_another_format_are_undone(file: Path) -> None:
    with kept_as_written():
        file.write_text(SALTED)

    assert file.read_text() == WRITTEN


def test_a_file_that_went_with_its_stack_comes_back(file: Path) -> None:
    with kept_as_written():
        file.unlink()

    assert file.read_text() == WRITTEN


@pytest.mark.parametrize(
    "edited",
    [SALTED.replace("cpus: 2", "cpus: 4"), SALTED + "secretsprovider: awskms://alias/x\n", "config: [\n", ""],
    ids=["a value", "another secrets provider", "half written", "emptied"],
)
def test_an_edit_stays(file: Path, edited: str) -> None:
    with kept_as_written():
        file.write_text(edited)

    assert file.read_text() == edited


def test_files_come_back_after_an_error_too(file: Path) -> None:
    def interrupted() -> None:
        with kept_as_written():
            file.write_text(SALTED)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert file.read_text() == WRITTEN


def test_a_new_file_stays(file: Path) -> None:
    with kept_as_written():
        file.with_name("Pulumi.new.yaml").write_text("config: {}\n")

    assert file.with_name("Pulumi.new.yaml").exists()
