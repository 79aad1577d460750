"""Modules of ollama_models.py. Standard library only, Python 3.8; roles send the files."""
