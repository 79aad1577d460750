"""Pins of the Ollama that is built here, for machines that can use the Go module proxy but no release server."""

BUILT_VERSION = "0.24.0"
"""Also in engine/go.mod. The newest version that Go alone can build: later ones need CMake and llama.cpp."""

GO_FROM = (1, 21, 0)
"""The oldest Go that downloads the toolchain in engine/go.mod (Go 1.26) itself."""
