#!/usr/bin/env python3
"""Record which release of an engine answered, and return to it if a newer release does not answer.

    engine-release may UNIT VERSION              exit 0 unless a newer version has answered here
    engine-release kept UNIT LINK VERSION        exit 0 if the release that LINK points to is recorded as good
    engine-release keep UNIT LINK VERSION        record it, and remove releases older than the previous one
    engine-release return UNIT LINK              go back to the recorded release, and start it

LINK is the link that UNIT runs from. Releases are folders beside it; archives/ there holds their archives, if any.
Builds and fetches nothing, and removes only recorded releases. `keep` is called when the unit is active, which it is
only after the engine has answered a completion.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NOTES = Path("/var/lib/llm-deploy/releases")
UNITS = Path("/etc/systemd/system")
NOTHING_TO_RETURN_TO = 3


def read_note(unit: str) -> dict[str, Any]:
    """Return the record: `good` and `former` releases (version, folder, unit file), `others` (folders)."""
    nothing: dict[str, Any] = {"good": None, "former": None, "others": []}
    try:
        return {**nothing, **json.loads((NOTES / (unit + ".json")).read_text(encoding="utf-8"))}
    except (OSError, ValueError):
        return nothing


def write_atomically(path: Path, text: str) -> None:
    """Write a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name("." + path.name + ".new")
    staged.write_text(text, encoding="utf-8")
    staged.chmod(0o644)
    staged.replace(path)


def order(version: str) -> tuple[list[int], int]:
    """Return a sort key for versions: 0.9.2 < 0.10.0rc1 < 0.10.0 < 0.10.0.post1."""
    numbers, _, rest = re.sub(r"^v?([\d.]*\d)", r"\1 ", version).partition(" ")
    stage = -1 if rest.lstrip("-.").startswith(("rc", "a", "b", "dev")) else int("post" in rest)
    return [int(part) for part in numbers.split(".")], stage


def may(unit: str, version: str) -> int:
    """Refuse a version older than the last one that answered on this host."""
    good = read_note(unit)["good"]
    if good is None or order(version) >= order(good["version"]):
        return 0
    hint = "to go back, run make upgrade-engine ARGS=--allow-downgrade"
    print("version {} is older than {}, which answered here; {}".format(version, good["version"], hint))
    return 1


def target_of(link: str) -> str:
    """Return the target of `link`, as written in it."""
    return os.readlink(link)  # noqa: PTH115  # Path.readlink is not in Python 3.8


def seen_now(unit: str, link: str, version: str) -> dict[str, str]:
    """Return the release that LINK points to now."""
    text = (UNITS / unit).read_text(encoding="utf-8")
    return {"version": version, "folder": target_of(link), "unit": text}


def kept(unit: str, link: str, version: str) -> int:
    """Return 0 if there is nothing to record."""
    note = read_note(unit)
    return 0 if note["good"] == seen_now(unit, link, version) and not note["others"] else 1


def keep(unit: str, link: str, version: str) -> int:
    """Record the present release as good and the one before it as `former`; remove all others."""
    note, now = read_note(unit), seen_now(unit, link, version)
    good, former = note["good"], note["former"]
    others = {*note["others"], *(each["folder"] for each in (good, former) if each)}
    if good and good["folder"] != now["folder"]:
        former = good
    staying = {each["folder"] for each in (now, former) if each}
    for folder in others - staying:
        shutil.rmtree(Path(link).parent / folder, ignore_errors=True)
    remove_archives(Path(link).parent / "archives", {Path(folder).name for folder in staying})
    write_note(unit, {"good": now, "former": former, "others": []})
    return 0


def remove_archives(archives: Path, staying: set[str]) -> None:
    """Remove the archives of removed releases; an archive's name contains the name of its release."""
    for path in archives.glob("*"):
        if not any(name in path.name for name in staying):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def write_note(unit: str, note: dict[str, Any]) -> None:
    """Write the record."""
    write_atomically(NOTES / (unit + ".json"), json.dumps(note, indent=1) + "\n")


def go_back(unit: str, link: str) -> int:
    """Return to the last release that answered, with its unit file."""
    note = read_note(unit)
    good, failed = note["good"], target_of(link)
    if good is None or good["folder"] == failed or not (Path(link).parent / good["folder"]).is_dir():
        return NOTHING_TO_RETURN_TO
    staged = Path(link).with_name("." + Path(link).name + ".new")
    if staged.is_symlink():
        staged.unlink()
    staged.symlink_to(good["folder"])
    staged.replace(link)
    write_atomically(UNITS / unit, good["unit"])
    write_note(unit, {**note, "others": [*note["others"], failed]})
    for words in (("daemon-reload",), ("reset-failed", unit), ("restart", unit)):
        done = subprocess.run(["systemctl", *words], check=False)
    if done.returncode:
        print("returned to version {}, which does not start either".format(good["version"]))
        return 1
    print("returned to version {}, which answers again".format(good["version"]))
    return 0


def main(verb: str, *words: str) -> int:
    """Run the command; return the exit status."""
    verbs: dict[str, Callable[..., int]] = {"may": may, "kept": kept, "keep": keep, "return": go_back}
    return verbs[verb](*words)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
