"""File formats of models and adapters: JSON, safetensors, LoRA, and what each engine's release loads of them.

Standard library only, Python 3.8, relative imports: hosts run these files, too, as parts of programs/llm_fetch.
"""
