"""The build of the Pulumi CLI from Go modules, for a machine that can use the module proxy but not the release server.

The wrapper modules engine/ and language/ pin every source by hash (go.sum). The Pulumi engine is the current release.
The Python language host is older: the last one whose sources are complete on the proxy. It works with this Pulumi
engine if the project's environment is first on PATH. Needs Go, but no C compiler.
"""

import hashlib
import platform
import shutil
from pathlib import Path

from core.console import step
from tools import go
from tools.go import GoModule
from tools.pulumi.versions import ENGINE_VERSION, GO_FROM, SUPPORTED_FROM

WRAPPERS = Path(__file__).resolve().parent
ENGINE_MODULE = "github.com/pulumi/pulumi/sdk/v3"
ENGINE_PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
LANGUAGE_PACKAGE = "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"
VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"

BUILD_FLAGS = ("-mod=readonly", "-trimpath", "-tags=osusergo,grpcnotrace")
SCRIPTS = ("python/cmd/pulumi-language-python-exec", "python/dist/pulumi-resource-pulumi-python")
"""Scripts from the SDK: they start a program and a dynamic provider."""


def recipe_hash() -> str:
    """Return 12 hex digits, a hash of the build's inputs."""
    digest = hashlib.sha256(repr((ENGINE_VERSION, BUILD_FLAGS, SCRIPTS, platform.machine())).encode())
    for name in ("engine/go.mod", "engine/go.sum", "language/go.mod", "language/go.sum"):
        digest.update((WRAPPERS / name).read_bytes())
    return digest.hexdigest()[:12]


def build_cli(target: Path) -> None:
    """Build the Pulumi engine and the language host into `target`, and copy their scripts.

    Raises UsageError without a suitable Go, DeployError if a source cannot be fetched or does not compile.
    """
    check_go()
    engine_module, language_module = _module("engine"), _module("language")
    with step("fetch the sources of the Pulumi CLI from the Go module proxy", once=True):
        engine_packages = engine_module.dependencies(ENGINE_PACKAGE, BUILD_FLAGS)
        language_packages = language_module.dependencies(LANGUAGE_PACKAGE, BUILD_FLAGS)
    with step(f"build the Pulumi CLI {ENGINE_VERSION} (once; some 5 minutes on 2 cores)", once=True):
        flags = (*BUILD_FLAGS, f"-ldflags=-s -w -X {VERSION_VARIABLE}=v{ENGINE_VERSION}")
        engine_module.build(ENGINE_PACKAGE, target / "pulumi", flags, packages=engine_packages)
        flags = (*BUILD_FLAGS, "-ldflags=-s -w")
        language = target / "pulumi-language-python"
        language_module.build(LANGUAGE_PACKAGE, language, flags, packages=language_packages)
    sdk = engine_module.source(ENGINE_MODULE)
    for script in SCRIPTS:
        program = target / Path(script).name
        shutil.copyfile(sdk / script, program)
        program.chmod(0o755)


def check_go() -> None:
    """Raise UsageError, which says what to install, unless Go can build the CLI."""
    oldest = ".".join(map(str, GO_FROM[:2]))
    hint = f"install Pulumi {'.'.join(map(str, SUPPORTED_FROM))} or newer, or Go {oldest} or newer to build it here"
    missing = "there is no Pulumi CLI, and no Go to build it with"
    go.check_go(GO_FROM, what="the Pulumi CLI", missing=missing, hint=hint)


def _module(wrapper: str) -> GoModule:
    return GoModule(
        WRAPPERS / wrapper,
        "the Pulumi CLI",
        {"CGO_ENABLED": "0"},
        hint="see the lines below, or install Pulumi yourself: https://www.pulumi.com/docs/install/",
    )
