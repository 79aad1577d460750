"""A tiny language model with two LoRA adapters, generated on this computer without any download.

The weights are random, so the answers make no sense. Loading, adapters, chat template and streaming work as for a real
model. Every machine generates the same bytes, so checksums can be pinned. Needs only the standard library, and does not
know how the files are served.
"""

from tools.tiny_model.architectures import CONTEXT_TOKENS
from tools.tiny_model.maker import ADAPTERS, TinyModel, make_tiny_model
from tools.tiny_model.weights import LORA_RANK

__all__ = ["ADAPTERS", "CONTEXT_TOKENS", "LORA_RANK", "TinyModel", "make_tiny_model"]
