"""Two hosts with adapters, played by what their programs say; and the record that moves leave."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import HostError
from infra.contract.outputs import HostRecord
from provisioning.adapters.report import Folder
from provisioning.converge.result import HostResult
from provisioning.converge.trees import tree_digest
from serving.adapters.manifest import read_releases
from tools.tiny_model import make_tiny_model

OLD, USED = "/var/lib/llm/models/acme--base@0123456789ab", "/var/lib/llm/models/acme--base@ba9876543210"


class Hosts:
    """What each host means by `contract`; one may fail to move, another may move and its answer not arrive."""

    def __init__(self, *names: str) -> None:
        self.means = dict.fromkeys(names, "contract@3")
        self.others: dict[str, str] = {}
        """Other names that all of them serve."""
        self.broken = ""
        """Refuses to move, and answers nothing from then on."""
        self.lost: dict[str, BaseException] = {}
        """What comes instead of a host's answer to a move that it made, once."""
        self.gone: set[str] = set()
        self.again = ""
        """The command that a failure would name to run again."""
        self.converged: list[bool] = []
        """For each list of resources that they got, whether it was only planned."""
        self.asked: list[tuple[str, str]] = []
        """Host and command of each question."""
        self.words: list[tuple[str, ...]] = []
        """What came with each."""

    def ask(self, host: HostRecord, command: str, *words: str) -> str:
        self.asked.append((host.name, command))
        self.words.append(words)
        if host.name in self.gone:
            raise HostError("cannot be reached", where=host.name)
        aliases = {"contract": self.means[host.name], **self.others}
        served = {"versions": {"contract@3": "/3", "contract@4": "/4"}, "aliases": aliases}
        if command == "show":
            return json.dumps({"served": served, "running": served, "history": []})
        if command == "move":
            if host.name == self.broken:
                self.gone.add(host.name)
                raise HostError("the engine does not answer", where=host.name)
            version, who, what = words
            entry = {"time": "2026-11-21T16:00:00Z", "who": who, "what": what, "adapter": "contract"}
            before, self.means[host.name] = self.means[host.name], version
            if host.name in self.lost:
                raise self.lost.pop(host.name)
            return json.dumps({**entry, "from": before, "to": version, "seconds": 0.01})
        return ""

    def converge(self, *, again: str, dry_run: bool, retire: Sequence[str] = ()) -> dict[str, HostResult]:
        """Take the retired names away, as their program does."""
        self.converged.append(dry_run)
        self.again = again
        for name in () if dry_run else retire:
            self.others.pop(name, None)
        return {}

    @staticmethod
    def folders() -> list[Folder]:
        """Return what lies on each of them."""
        needed = f"/var/lib/llm/models/tiny@{tree_digest(make_tiny_model('llama').base)[:12]}"
        used = {"/3": True, USED: True, needed: False, OLD: False}
        return [Folder(path=path, bytes=3 << 30, in_use=in_use) for path, in_use in used.items()]


def record(tmp_path: Path) -> list[dict[str, Any]]:
    found = read_releases(tmp_path / "adapters" / "test.yaml")
    assert found
    return [move.model_dump(by_alias=True) for move in found.moves]
