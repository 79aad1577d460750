"""The programs that unpack a release of Ollama and make its models, and their package `llm_ollama`.

The service is in provisioning/roles/engine/ollama.py.
"""
