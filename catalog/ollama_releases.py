"""Releases of Ollama that a host may get, and the oldest safe one. Each has its source.

Newer releases: https://github.com/ollama/ollama/releases (sha256sum.txt of the release has the checksums).
"""

PINNED = {"0.32.7": "ed1e39fe8fea90bd7f4c723bd949a2cea3153e111220ec0a183ea5b8dc8b2cae"}
"""SHA-256 of ollama-linux-amd64.tar.zst, by version.

0.32.7: four independent packagers pin this checksum, e.g. Chromebrew (chromebrew/chromebrew, packages/ollama.rb, commit
80b2c3b4976cb166fc0f5be99eccefb32543a96a). The release's own sha256sum.txt was not compared: it could not be reached.
"""

ARCHIVE_URL = "https://github.com/ollama/ollama/releases/download/v{version}/ollama-linux-amd64.tar.zst"

SAFE_FROM = (0, 17, 1)
"""In older releases, anyone who reaches /api/create can read the server's memory (CVE-2026-7482)."""


def version_numbers(version: str) -> tuple[int, ...]:
    """Return a version of three numbers with dots as a tuple that can be compared."""
    return tuple(int(part) for part in version.split("."))
