"""Reading a secret, and the errors, which never contain it."""

from pathlib import Path

import pytest

from core.errors import ConfigError
from core.reading.secret import SecretRef

SECRET = "hf_sample"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"  {SECRET} \na comment\n")
    path.chmod(0o600)
    return path


def refusal(reference: SecretRef) -> str:
    with pytest.raises(ConfigError) as refused:
        reference.read()
    return str(refused.value)


def test_the_first_line_of_a_file_is_the_secret_and_does_not_print_itself(file: Path) -> None:
    secret = SecretRef(file=file).read()
    assert secret.get_secret_value() == SECRET
    assert SECRET not in f"{secret} {secret!r}"


def test_the_home_folder_may_be_written_as_a_tilde(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(file.parent))
    assert SecretRef(file=Path("~/token")).read().get_secret_value() == SECRET


def test_a_missing_file_is_named(file: Path) -> None:
    file.unlink()
    assert refusal(SecretRef(file=file)) == (
        f"{file}: cannot be read (No such file or directory); write the secret there, mode 0600"
    )


def test_a_folder_is_not_a_secret(file: Path) -> None:
    assert refusal(SecretRef(file=file.parent)).startswith(f"{file.parent}: cannot be read (Is a directory)")


@pytest.mark.parametrize("text", ["", "\n", "  \nsecond line\n"])
def test_a_file_without_a_first_line_is_refused(file: Path, text: str) -> None:
    file.write_text(text)
    assert refusal(SecretRef(file=file)) == f"{file}: is empty; write the secret on its first line"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_file_that_others_can_read_is_refused_without_showing_it(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert refusal(SecretRef(file=file)) == f"{file}: other users can read it; run chmod 600 {file}"


def test_a_variable_is_read_late(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = SecretRef(env="HF_SAMPLE")
    monkeypatch.setenv("HF_SAMPLE", SECRET)
    assert reference.read().get_secret_value() == SECRET


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_without_a_value_is_named(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("HF_SAMPLE", raising=False)
    if value is not None:
        monkeypatch.setenv("HF_SAMPLE", value)
    assert refusal(SecretRef(env="HF_SAMPLE")) == "environment variable HF_SAMPLE: is not set; export HF_SAMPLE=…"
