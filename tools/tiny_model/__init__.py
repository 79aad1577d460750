"""A tiny language model with two LoRA adapters, made here where no weights can be downloaded.

The weights are random: the answers are words without sense, yet everything around them (loading, adapters, chat
template, streaming) is what a real model goes through. The same bytes come out on every machine, so checksums can be
pinned. Needs nothing but the standard library, and does not know how the files are served.
"""

from tools.tiny_model.architectures import CONTEXT_TOKENS
from tools.tiny_model.maker import ADAPTERS, TinyModel, make_tiny_model
from tools.tiny_model.weights import LORA_RANK

__all__ = ["ADAPTERS", "CONTEXT_TOKENS", "LORA_RANK", "TinyModel", "make_tiny_model"]
