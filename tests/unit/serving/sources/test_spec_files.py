"""The files that a spec names. The contents of adapters are tested in adapters/test_checks.py."""

import shutil
from pathlib import Path

import pytest

from core.paths import CHECKOUT, full_path
from serving.sources.spec_files import files_of_gateway, files_of_serving
from serving.spec.fields import AdapterSpec, FolderSource, ModelSpec
from serving.spec.gateway_fields import TlsFiles
from serving.spec.models import GatewaySpec, ServingSpec
from tools.tiny_model import LORA_RANK, TinyModel, make_tiny_model


@pytest.fixture
def tiny(tmp_path: Path) -> TinyModel:
    """A model with its adapters in folders."""
    return make_tiny_model("llama", tmp_path)


def _problems(tiny: TinyModel, *, rank: int = LORA_RANK, sha256: str | None = None) -> list[str]:
    adapter = FolderSource(kind="folder", path=tiny.adapter("a"))
    spec = ServingSpec(
        model=ModelSpec(name="base", source=FolderSource(kind="folder", path=tiny.base)),
        adapters=(AdapterSpec(name="a", source=adapter, rank=rank, sha256=sha256),),
    )
    return [f"{problem.key}: {problem.what}; {problem.hint}" for problem in files_of_serving(spec)]


def test_whole_folders_pass(tiny: TinyModel) -> None:
    """Model and adapter exist, and the adapter is the right one."""
    assert _problems(tiny) == []


def test_a_rank_that_the_adapter_does_not_have_is_reported(tiny: TinyModel) -> None:
    """vLLM would fail on it minutes later."""
    assert [line.partition(";")[0] for line in _problems(tiny, rank=4)] == [
        "adapters[0].rank: 4 is not the 8 of its adapter_config.json"
    ]


def test_another_checksum_is_reported(tiny: TinyModel) -> None:
    """The adapter has changed since it was pinned."""
    assert [line.partition(":")[0] for line in _problems(tiny, sha256="0" * 64)] == ["adapters[0].sha256"]


def test_cut_off_weights_are_reported_with_the_adapter_they_belong_to(tiny: TinyModel) -> None:
    """A Git LFS pointer instead of the file. The message names the file, the key the adapter."""
    weights = tiny.adapter("a") / "adapter_model.safetensors"
    weights.write_text("version https://git-lfs.github.com/spec/v1\n")
    assert _problems(tiny) == [
        f"adapters[0].source.path: {weights} is a Git LFS pointer, not the file; run `git lfs pull` in its folder"
    ]


def test_missing_folders_are_all_reported(tiny: TinyModel) -> None:
    """Each with its key."""
    shutil.rmtree(tiny.base)
    shutil.rmtree(tiny.adapter("a"))
    assert _problems(tiny) == [
        f"model.source.path: there is no folder {tiny.base}; relative paths start at the checkout",
        f"adapters[0].source.path: there is no folder {tiny.adapter('a')}; relative paths start at the checkout",
    ]


def test_a_folder_without_a_model_is_reported(tiny: TinyModel) -> None:
    """Usually it is the folder above."""
    (tiny.base / "config.json").unlink()
    assert _problems(tiny) == [f"model.source.path: {tiny.base} has no config.json; write the folder that contains it"]


def test_relative_paths_start_at_the_checkout_and_home_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the command is run from."""
    monkeypatch.setenv("HOME", "/home/someone")
    assert full_path(Path("models/m")) == CHECKOUT / "models/m"
    assert full_path(Path("~/m")) == Path("/home/someone/m")


def test_a_readable_key_and_a_missing_ca_are_reported(tmp_path: Path) -> None:
    """Everyone may read the certificate, only the owner may read its key."""
    for name, mode in (("cert.pem", 0o644), ("key.pem", 0o640)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    tls = TlsFiles(kind="files", certificate=tmp_path / "cert.pem", key=tmp_path / "key.pem", ca=tmp_path / "ca.pem")
    assert [(problem.key, problem.what) for problem in files_of_gateway(GatewaySpec(tls=tls))] == [
        ("tls.key", f"others on this computer can read {tmp_path}/key.pem"),
        ("tls.ca", f"there is no file {tmp_path}/ca.pem"),
    ]


@pytest.mark.parametrize(
    ("content", "reported"),
    [(b"{{ messages }}", []), (b"\xff", ["cannot be read as text"]), (b"x" * 300_000, ["has more than 262144 bytes"])],
)
def test_a_chat_template_is_text_of_some_size(tmp_path: Path, content: bytes, reported: list[str]) -> None:
    (tmp_path / "own.jinja").write_bytes(content)
    spec = ServingSpec.model_validate(
        {
            "model": {"name": "base", "source": {"kind": "tiny", "name": "llama"}},
            "vllm": {"chat_template": str(tmp_path / "own.jinja")},
        }
    )
    problems = list(files_of_serving(spec))
    assert [problem.key for problem in problems] == ["vllm.chat_template"] * len(reported)
    assert all(words in problem.what for words, problem in zip(reported, problems, strict=True))
