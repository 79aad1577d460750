"""What ollama_models.py is made of. Standard library only, Python 3.8; roles send the files."""
