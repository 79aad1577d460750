"""Pins of the Pulumi CLI. Newer releases: https://www.pulumi.com/docs/iac/download-install/versions/ ."""

ENGINE_VERSION = "3.258.0"
"""What is built from Go modules, and the SDK in pyproject.toml. The newest that the module proxy offers whole."""

SUPPORTED_FROM = (3, 220, 0)
"""Oldest CLI on PATH that is used. Its engine has the built-in `Stash` (of January 2026), which keeps host keys,
keeps the secrets provider in a new stack's state and reads it back from there, and knows `toolchain: uv`."""

SUPPORTED_BELOW = (4, 0, 0)

ARCHIVE_VERSION = "3.255.0"
"""The release whose checksums are known here. Below ENGINE_VERSION on purpose: see docs/decisions."""

ARCHIVE_URL = "https://get.pulumi.com/releases/sdk/pulumi-v{version}-linux-{arch}.tar.gz"

ARCHIVE_SHA256 = {
    "x64": "cf559568e2c32f7fae56ea3de8ae5fa48973ba8c5aa9dd2b3dc0c8898fe50dba",
    "arm64": "699fbc6ea848d997e9b3645487f108d27b1b55ec807c7576406131e6e080f0e3",
}
"""As in pulumi-3.255.0-checksums.txt of the release, by architecture as the file names spell it."""

GO_FROM = (1, 21, 0)
"""Oldest Go that fetches the toolchain which the go.mod files name (Go 1.26) by itself."""
