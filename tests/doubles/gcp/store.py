"""What the simulated project has: bodies in the API's words by their path, put in by rules and taken out in order."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.doubles.gcp import seed
from tests.doubles.gcp.refusal import Refusal, missing
from tests.doubles.gcp.settings import Settings

Body = dict[str, Any]


class Store:
    """One project, and the buckets of the world."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.lock = threading.RLock()
        self._numbers = itertools.count(1)
        self.clear()

    def clear(self) -> None:
        """Forget all resources."""
        self.resources: dict[str, Body] = {}
        self.policy = seed.project_policy()
        self.calls: list[str] = []
        self._ending: dict[str, int] = {}

    @contextmanager
    def action(self, name: str) -> Iterator[None]:
        """Run the action `name` of the API; a test may have it refused or delayed."""
        self.calls.append(name)
        reason = self.settings.refused.get(name)
        if reason is not None:
            raise Refusal(403, reason, f"{name} is refused: {reason}")
        with self.lock:
            yield
        time.sleep(self.settings.hold_s.get(name, 0))

    def insert(self, path: str, body: Body) -> Body:
        """Make a resource. Raises Refusal."""
        from tests.doubles.gcp.rules import check, settle

        collection, name = parts(path)
        with self.action(f"{collection}.insert"):
            if path in self.resources:
                raise Refusal(409, "alreadyExists", f"The resource '{path}' already exists")
            made = {"name": name, **body, "id": str(next(self._numbers))}
            check(self, path, made)
            self.resources[path] = made
            settle(self, path, made)
        return made

    def get(self, path: str) -> Body:
        """Return a resource. Raises Refusal if it does not exist; a read advances a removal."""
        with self.lock:
            self._pass(path)
            if path not in self.resources:
                raise missing(path)
            return self.resources[path]

    def of(self, collection: str, *, look: bool = False) -> dict[str, Body]:
        """Return all resources of a kind by path; with `look` the read advances removals."""
        with self.lock:
            found = [path for path in self.resources if parts(path)[0] == collection]
            if look:
                for path in found:
                    self._pass(path)
            return {path: self.resources[path] for path in found if path in self.resources}

    def change(self, path: str, verb: str, change: Callable[[Body], None]) -> None:
        """Change a resource in place. Raises Refusal."""
        with self.action(f"{parts(path)[0]}.{verb}"):
            change(self.get(path))

    def delete(self, path: str, *, waits: bool) -> None:
        """Remove a resource. Raises Refusal while another needs it; without `waits` an instance takes a while."""
        from tests.doubles.gcp.rules import refuse_deletion

        collection = parts(path)[0]
        with self.action(f"{collection}.delete"):
            resource = self.get(path)
            refuse_deletion(self, path, resource)
            if collection == "instances" and not waits and self.settings.ending_polls:
                resource["status"] = "STOPPING"
                self._ending[path] = self.settings.ending_polls
            else:
                self._remove(path)

    def _pass(self, path: str) -> None:
        """Count one read of a resource."""
        if path in self._ending:
            self._ending[path] -= 1
            if self._ending[path] < 0:
                del self._ending[path]
                self._remove(path)

    def _remove(self, path: str) -> None:
        from tests.doubles.gcp.rules import loosen

        loosen(self, path, self.resources.pop(path))


def parts(path: str) -> tuple[str, str]:
    """Return collection and name of a path."""
    *_before, collection, name = path.split("/")
    return collection, name


def place(path: str) -> str:
    """Return the zone or region of a path; `global` for what has none."""
    words = path.split("/")
    return next((after for before, after in itertools.pairwise(words) if before in ("zones", "regions")), "global")


def region_of(path: str) -> str:
    """Return the region of a path."""
    where = place(path)
    return where.rpartition("-")[0] if "zones/" in path else where
