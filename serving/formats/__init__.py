"""File formats of models and adapters: JSON, safetensors, LoRA, and which of them each engine can load.

Standard library only, Python 3.8, relative imports: hosts run these files too, as part of programs/fetch/llm_fetch.
"""
