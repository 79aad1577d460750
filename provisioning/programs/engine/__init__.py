"""Programs beside an engine: whether it answers, which release runs, and the plugin that limits requests to vLLM.

Models, adapters and what only Ollama needs have folders of their own.
"""
