"""An archive of Ollama with the layout of the official ones, built once from its Go module.

For tests, the demo and hosts without a release server. It runs on the CPU only: CMake builds the GPU libraries of an
official release, and this archive does not have them. Installs nothing.
"""

from tools.ollama.archive import BuiltArchive, built_archive
from tools.ollama.versions import BUILT_VERSION

__all__ = ["BUILT_VERSION", "BuiltArchive", "built_archive"]
