"""Pins of the Ollama that is built here, for machines that reach the Go module proxy and no release server."""

BUILT_VERSION = "0.24.0"
"""Also in engine/go.mod. The newest whose module builds by itself: later ones need CMake and a llama.cpp beside it."""

GO_FROM = (1, 21, 0)
"""Oldest Go that fetches the toolchain which engine/go.mod names (Go 1.26) by itself."""
