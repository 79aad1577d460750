"""A release archive of Ollama, in the shape of the official ones, built here once from its Go module.

For tests, the demo and hosts that no release server reaches. Computes on the CPU: the GPU libraries of an official
release are built by CMake and are not in it. Installs nothing.
"""

from tools.ollama.archive import BuiltArchive, built_archive
from tools.ollama.versions import BUILT_VERSION

__all__ = ["BUILT_VERSION", "BuiltArchive", "built_archive"]
