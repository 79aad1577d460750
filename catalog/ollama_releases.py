"""Releases of Ollama that a host may be given, and the oldest that is safe. One table, each row with its source.

Newer releases: https://github.com/ollama/ollama/releases (sha256sum.txt of the release has the checksums).
"""

PINNED = {"0.32.7": "ed1e39fe8fea90bd7f4c723bd949a2cea3153e111220ec0a183ea5b8dc8b2cae"}
"""SHA-256 of ollama-linux-amd64.tar.zst, by version.

0.32.7: as four independent packagers pin it, among them Chromebrew (chromebrew/chromebrew, packages/ollama.rb, commit
80b2c3b4976cb166fc0f5be99eccefb32543a96a). The release's own sha256sum.txt could not be reached from here.
"""

ARCHIVE_URL = "https://github.com/ollama/ollama/releases/download/v{version}/ollama-linux-amd64.tar.zst"

SAFE_FROM = (0, 17, 1)
"""Before, anybody who reaches /api/create reads the server's memory (CVE-2026-7482)."""


def version_numbers(version: str) -> tuple[int, ...]:
    """Return what orders versions written as three numbers with dots."""
    return tuple(int(part) for part in version.split("."))
