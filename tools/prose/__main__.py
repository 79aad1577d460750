"""Check the words of files: `python -m tools.prose [PATH…]`; without PATH, those that tools/prose/checked.txt lists."""

import subprocess
import sys
from pathlib import Path

from core.console import say, show
from core.errors import UsageError, run_cli
from core.paths import CHECKOUT
from tools.prose.check import CHECKED, findings, listed


def main() -> int:
    """Return 1 if a file contains a refused phrase, else 0."""
    given = [Path(path).absolute() for path in sys.argv[1:]]
    paths = given or [CHECKOUT / path for path in listed(CHECKED.read_text(encoding="utf-8").splitlines())]
    for path in paths:
        if not path.exists():
            where = "tools.prose" if given else str(CHECKED.relative_to(CHECKOUT))
            raise UsageError(f"{path} does not exist", where=where, hint="write the path of a file or folder")
    found = [each for file in files(paths) for each in findings(file, (CHECKOUT / file).read_text(encoding="utf-8"))]
    for each in found:
        show(str(each))
    if found:
        say(f"{len(found)} phrases to replace")
    return 1 if found else 0


def files(paths: list[Path]) -> list[str]:
    """Return the files below `paths` that git tracks or would add, by their path in the checkout."""
    if not paths:
        return []
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate", "--"]
    done = subprocess.run([*command, *map(str, paths)], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return [name for name in done.stdout.split("\0") if name and is_text(CHECKOUT / name)]


def is_text(path: Path) -> bool:
    """Return whether `path` is a file in UTF-8."""
    if not path.is_file():  # deleted, and not yet committed
        return False
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(run_cli(main))
