"""Programs beside an engine: whether it answers, which release runs, and the plugin that limits requests to vLLM.

Programs for models, for adapters and for Ollama alone are in other folders.
"""
