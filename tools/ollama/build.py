"""The build of Ollama from its Go module. The wrapper module engine/ pins every source by hash (go.sum).

Needs Go, a C++ compiler and two header libraries from Debian, which the module does not contain.
"""

import hashlib
import platform
import shutil
from pathlib import Path

from core.console import step
from tools.go import GoModule, check_go
from tools.host_packages import ensure_packages
from tools.ollama.versions import BUILT_VERSION, GO_FROM

WRAPPER = Path(__file__).resolve().parent / "engine"
PACKAGE = "github.com/ollama/ollama"
VERSION_VARIABLE = f"{PACKAGE}/version.Version"

AUDIO_MODULE = "github.com/gen2brain/malgo"
"""Contains miniaudio.h, a header that Ollama includes; neither its module nor Debian has it."""

BUILD_FLAGS = ("-mod=readonly", "-trimpath", f"-ldflags=-s -w -X {VERSION_VARIABLE}={BUILT_VERSION}")
C_FLAGS = "-O2"

PACKAGE_OF = {
    "gcc": "gcc",
    "g++": "g++",
    "zstd": "zstd",
    "/usr/include/nlohmann/json.hpp": "nlohmann-json3-dev",
    "/usr/include/stb/stb_image.h": "libstb-dev",
}
"""A program on PATH or a file, and its Debian package."""


def recipe_hash() -> str:
    """Return 12 hex digits, a hash of the build's inputs."""
    digest = hashlib.sha256(repr((BUILD_FLAGS, C_FLAGS, AUDIO_MODULE, platform.machine())).encode())
    for name in ("go.mod", "go.sum"):
        digest.update((WRAPPER / name).read_bytes())
    return digest.hexdigest()[:12]


def build_ollama(program: Path, headers: Path) -> None:
    """Compile Ollama to `program`. `headers` must be the same folder for every build of this recipe.

    Raises UsageError if Go or a package is missing, DeployError if a source cannot be fetched or does not compile.
    """
    hint = f"install Go {'.'.join(map(str, GO_FROM[:2]))} or newer"
    check_go(GO_FROM, what="Ollama", missing="there is no Go to build Ollama with", hint=hint)
    ensure_packages(PACKAGE_OF, where="tools/ollama")
    # These flags are part of the key in Go's build cache, so the folder must not change between builds.
    include = f"{C_FLAGS} -I{headers}"
    module = GoModule(WRAPPER, "Ollama", {"CGO_ENABLED": "1", "CGO_CFLAGS": include, "CGO_CXXFLAGS": include})
    with step("fetch the sources of Ollama from the Go module proxy", once=True):
        packages = module.dependencies(PACKAGE, BUILD_FLAGS[:1])
        audio = module.source(AUDIO_MODULE) / "miniaudio.h"
    (headers / "miniaudio").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(audio, headers / "miniaudio" / audio.name)
    with step(f"build Ollama {BUILT_VERSION} (once; 4 to 9 minutes on 2 cores)", once=True):
        module.build(PACKAGE, program, BUILD_FLAGS, packages=packages)
