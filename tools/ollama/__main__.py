"""`python -m tools.ollama`: build the archive of Ollama if it is missing, and print its path."""

import sys

from core.errors import run_cli
from tools.ollama import built_archive


def main() -> int:
    """Build it; return the exit status."""
    print(built_archive().path)
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
