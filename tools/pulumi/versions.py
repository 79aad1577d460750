"""Pins of the Pulumi CLI. Newer releases: https://www.pulumi.com/docs/iac/download-install/versions/ ."""

ENGINE_VERSION = "3.258.0"
"""The version to build from Go modules, and the SDK in pyproject.toml. The newest one that is complete on the proxy."""

SUPPORTED_FROM = (3, 220, 0)
"""The oldest supported CLI on PATH. It has the built-in `Stash` (January 2026), which keeps host keys; it stores a new
stack's secrets provider in the state and reads it from there; and it supports `toolchain: uv`."""

SUPPORTED_BELOW = (4, 0, 0)

ARCHIVE_VERSION = "3.255.0"
"""The release with the checksums below. Older than ENGINE_VERSION on purpose: docs/decisions/0005-pulumi-cli.md."""

ARCHIVE_URL = "https://get.pulumi.com/releases/sdk/pulumi-v{version}-linux-{arch}.tar.gz"

ARCHIVE_SHA256 = {
    "x64": "cf559568e2c32f7fae56ea3de8ae5fa48973ba8c5aa9dd2b3dc0c8898fe50dba",
    "arm64": "699fbc6ea848d997e9b3645487f108d27b1b55ec807c7576406131e6e080f0e3",
}
"""From the release's pulumi-3.255.0-checksums.txt, by the architecture in the file name."""

GO_FROM = (1, 21, 0)
"""The oldest Go that downloads the toolchain in the go.mod files (Go 1.26) itself."""
