"""The payload that is sent to a host."""

import ast
import sys
from pathlib import Path

import pytest

from core.errors import ConfigError
from provisioning.converge.agent_zip import AGENT_DIR, agent_zip
from provisioning.converge.payload import payload_of
from provisioning.converge.resources import Command, File, Resource, Secret, Tree, Unit
from provisioning.converge.trees import tree_digest

SOURCES = sorted(AGENT_DIR.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(AGENT_DIR)))
def test_agent_is_python_3_8_and_standard_library_only(path: Path) -> None:
    """Hosts have Python 3.8 and none of this project's packages."""
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
        assert all(name.split(".")[0] in sys.stdlib_module_names for name in names)


def test_agent_zip_is_the_same_for_the_same_sources() -> None:
    """Two controllers send the same bytes."""
    first = agent_zip()
    agent_zip.cache_clear()
    assert agent_zip() == first


def test_secrets_are_marked_in_the_document_and_absent_from_the_repr() -> None:
    """The agent knows what to mask, and our own tracebacks show no secret."""
    desired = [
        File(path="/etc/a", content=Secret("s3cret")),
        Command(name="c", argv=("true",), env={"TOKEN": Secret("t0ken"), "PLAIN": "x"}),
    ]
    package = payload_of(desired, dry_run=True)
    file, command = package.document["resources"]
    assert file["content"] == {"secret": "s3cret"}
    assert file["secret"] is True
    assert command["env"] == {"TOKEN": {"secret": "t0ken"}, "PLAIN": "x"}
    assert package.secrets == ("s3cret", "t0ken")
    assert "s3cret" not in repr(package)
    assert "s3cret" not in repr(desired)


def test_hidden_files_are_not_sent(tmp_path: Path) -> None:
    """A .DS_Store, or a changed byte in a hub's cache, sent the whole model again, to a new folder."""
    (tmp_path / "weights").write_bytes(b"abc")
    before = tree_digest(tmp_path)
    (tmp_path / ".DS_Store").write_text("x")
    (tmp_path / ".cache/huggingface").mkdir(parents=True)
    (tmp_path / ".cache/huggingface/weights.lock").write_text("x")
    package = payload_of([Tree(path="/opt/t", source=tmp_path)], dry_run=False)
    (entry,) = package.document["resources"]
    assert list(entry["files"]) == ["weights"]
    assert tree_digest(tmp_path) == before


def test_a_tree_lists_its_files_without_their_content(tmp_path: Path) -> None:
    """Links are followed, modes are 0644 or 0755, content is sent only on request."""
    (tmp_path / "real").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "run").write_text("x")
    (tmp_path / "run").chmod(0o700)
    package = payload_of([Tree(path="/opt/t", source=tmp_path)], dry_run=False)
    (entry,) = package.document["resources"]
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert entry["files"]["link"] == entry["files"]["real"] == [abc, 3, 0o644]
    assert entry["files"]["run"][2] == 0o755
    assert "source" not in entry
    assert package.blobs[abc].read_bytes() == b"abc"


REFUSED: dict[str, tuple[list[Resource], str]] = {
    "twice": ([File(path="/a", content=""), File(path="/a", content="x")], "file:/a: is in the list twice"),
    "unknown": ([File(path="/a", content="", after=("file:/b",))], "names 'file:/b', which is not before it"),
    "later": ([Unit(name="a", restart_on=("file:/a",)), File(path="/a", content="")], "names 'file:/a'"),
    "no folder": ([Tree(path="/opt/t", source=Path("/nonexistent"))], "/nonexistent: is not a folder with files"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_lists(case: str) -> None:
    """An invalid list is refused before anything is sent."""
    desired, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        payload_of(desired, dry_run=True)
